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
import math
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
from artifex.core.processes import any_process, is_writer

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class RunDir(NamedTuple):
    """Paths of a run, and what is written there."""

    path: Path

    @classmethod
    def create(cls, path: str | Path, tree: Mapping[str, Any]) -> RunDir:
        """A new run with this config.

        Raises:
            ConfigError: the folder is in use.
            RunError: it cannot be made or written.
        """
        run = cls(Path(path))
        with _writes(run.path):
            taken = is_writer() and run.path.exists() and (not run.path.is_dir() or any(run.path.iterdir()))
        if any_process(taken):
            raise ConfigError(
                f"{path}: expected a new or empty folder, got one that is in use. "
                f"Choose another, or go on with its run: artifex resume {path}"
            )
        if is_writer():
            with _writes(run.path):
                run.path.mkdir(parents=True, exist_ok=True)
                write_config(tree, run.config)
                _write(run.path / "environment.json", json.dumps(environment(), indent=2) + "\n")
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """A run that exists and can be read.

        Raises:
            RunError: there is none, or a part of it cannot be read.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            found = "a file" if run.path.exists() else "nothing"
            raise RunError(f"{path}: expected a run's folder, got {found}. Check the path.")
        if not run.config.is_file():
            raise RunError(f"{path}: expected a run's folder, got a folder without config.yaml. Check the path.")
        for part in (run.path, run.config, run.metrics, run.checkpoints):
            if part.exists() and not os.access(part, os.R_OK):
                raise RunError(
                    f"{part}: expected a run that can be read, got no permission. Ask its owner, or chmod it."
                )
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
        if not is_writer():
            yield
            return
        with _writes(self.path), contextlib.ExitStack() as stack:
            file = stack.enter_context((self.path / ".lock").open("a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise RunError(
                    f"{self.path}: expected a run that nobody writes to, got one held by {holder}. "
                    "Wait for it, or stop it."
                ) from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            kept = stack.pop_all()
        with kept:
            yield

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Add a row; what is not finite is null, as JSON has no word for it.

        Raises:
            RunError: it cannot be written.
        """
        if is_writer():
            with _writes(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
                file.write(_line(row))

    def read_metrics(self) -> list[dict[str, float]]:
        """All whole rows; a line that was cut short is left out."""
        if not self.metrics.is_file():
            return []
        rows: list[dict[str, float]] = []
        for line in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict) and "step" in row:
                    rows.append({name: math.nan if value is None else value for name, value in row.items()})
        return rows

    def truncate_metrics(self, step: int) -> None:
        """Leave out rows after `step`: they will be written again."""
        if is_writer() and self.metrics.is_file():
            rows = [row for row in self.read_metrics() if row["step"] <= step]
            with _writes(self.metrics):
                _write(self.metrics, "".join(_line(row) for row in rows))


def environment() -> dict[str, Any]:
    """What a run ran on."""
    installed = {(found.name or "").lower(): found.version for found in importlib.metadata.distributions()}
    versions = {n: v for n, v in sorted(installed.items()) if n in PACKAGES or n.startswith("artifex-")}
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


def _line(row: Mapping[str, float]) -> str:
    return json.dumps({name: value if math.isfinite(value) else None for name, value in row.items()}) + "\n"


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


@contextlib.contextmanager
def _writes(path: Path) -> Iterator[None]:
    """Say in one sentence what could not be written, and why."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{error.filename or path}: expected to write the run's files, got: {error.strerror or error}. "
            "Free some space, or choose a folder that you may write to."
        ) from error
