"""A run's folder.

    config.yaml       the resolved config                  metrics.jsonl   a row a line
    environment.json  versions, devices, command           checkpoints/  samples/  model/
    .lock             held by the process that writes
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from artifex.core.config_text import write_config
from artifex.core.errors import ConfigError, RunError

PACKAGES = ("artifex-core", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class RunDir(NamedTuple):
    """Paths of a run, and what is written there."""

    path: Path

    @classmethod
    def create(cls, path: str | Path, tree: Mapping[str, Any]) -> RunDir:
        """A new run with this config.

        Raises:
            ConfigError: the folder exists and is not empty.
        """
        run = cls(Path(path))
        if run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir())):
            raise ConfigError(
                f"{path}: expected a new or empty folder, got one that is in use. "
                f"Choose another, or go on with its run: artifex resume {path}"
            )
        if jax.process_index() == 0:
            run.path.mkdir(parents=True, exist_ok=True)
            write_config(tree, run.config)
            _write(run.path / "environment.json", json.dumps(environment(), indent=2) + "\n")
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """A run that exists.

        Raises:
            RunError: there is none.
        """
        run = cls(Path(path))
        if not run.config.is_file():
            found = "no folder" if not run.path.is_dir() else "a folder without config.yaml"
            raise RunError(f"{path}: expected a run's folder, got {found}. Check the path.")
        return run

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """A row of metrics a line."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The checkpoints' folder."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """The folder of samples."""
        return self.path / "samples"

    @property
    def model(self) -> Path:
        """The trained model's folder."""
        return self.path / "model"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only process that writes here; the lock ends with the process, however it ends.

        Raises:
            RunError: another process writes here.
        """
        if jax.process_index() != 0:
            yield
            return
        with (self.path / ".lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise RunError(
                    f"{self.path}: expected a run that nobody writes to, got one held by {file.read().strip() or 'another'}. "
                    "Wait for it, or stop it."
                ) from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            yield

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Add a row."""
        if jax.process_index() == 0:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(row)) + "\n")

    def read_metrics(self) -> list[dict[str, float]]:
        """All whole rows; a last line that was cut short is left out."""
        if not self.metrics.is_file():
            return []
        rows = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                rows.append(json.loads(line))
        return rows

    def truncate_metrics(self, step: int) -> None:
        """Leave out rows after `step`: they will be written again."""
        if jax.process_index() == 0 and self.metrics.is_file():
            rows = [row for row in self.read_metrics() if row["step"] <= step]
            _write(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))


def environment() -> dict[str, Any]:
    """What a run ran on."""
    ours = (d for d in importlib.metadata.distributions() if (d.name or "").startswith("artifex-"))
    versions = {name: importlib.metadata.version(name) for name in PACKAGES} | {d.name: d.version for d in ours}
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "devices": [str(device) for device in jax.devices()],
        "processes": jax.process_count(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of the working directory, where it is a repository."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()
    return None


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
