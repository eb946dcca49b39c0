"""What the commands on runs share: reading a config with overrides, loading the data and the model of a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

from artifex.core.config_text import read_config
from artifex.core.data.load import load_dataset
from artifex.core.data.source import Source
from artifex.core.errors import ConfigError, RunError
from artifex.core.extensions import ExtendedModel
from artifex.core.model import GenerativeModel
from artifex.core.overrides import apply_overrides
from artifex.core.plugins.loader import records
from artifex.core.registry import create_model, load_target
from artifex.core.saving import CONFIG, load_model
from artifex.core.training.run_config import RunConfig, read_run
from artifex.core.training.run_dir import RunDir
from artifex.core.training.trainer import Trainer


class Opened(NamedTuple):
    """A run's or a saved model's folder: the model, and the run's config where there is one."""

    model: GenerativeModel
    run: RunConfig | None
    step: int | None


def config_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of commands that read a config."""
    parser.add_argument("config", help="a config file: YAML, TOML or JSON")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", dest="settings",
        help="change a value, such as model.beta=4; may be repeated",
    )  # fmt: skip


def read_settings(path: str, settings: Sequence[str]) -> RunConfig:
    """The run that a config file and `--set` describe."""
    text = read_config(path)
    return read_run(apply_overrides(text.tree, settings), text.positions)


def split_of(run: RunConfig, split: str) -> Source:
    """A split of the run's data."""
    if run.data is None:
        raise ConfigError("config.data: expected the name of a data set, got none. Add a line: data: digits")
    return load_dataset(run.data, split)


def build(run: RunConfig) -> GenerativeModel:
    """The run's model with its extensions, new."""
    model = create_model(run.model, rngs=nnx.Rngs(run.trainer.seed))
    if not run.extensions:
        return model
    return ExtendedModel(model, [_extension(entry) for entry in run.extensions], rngs=nnx.Rngs(run.trainer.seed))


def _extension(entry: Any) -> Any:
    """An extension by name, or by a mapping with its `type` and options."""
    options = {"type": entry} if isinstance(entry, str) else dict(entry)
    name = options.pop("type", None)
    for _, record in records("extensions"):
        if record.name == name:
            return load_target(record.target)(**options)
    raise ConfigError(
        f"config.extensions: expected the name of an extension, got {name!r}. See artifex list-extensions."
    )


def open_folder(path: str, *, ema: bool | None = None) -> Opened:
    """The model in a folder: a saved one, or a run's at its newest sound checkpoint.

    Args:
        ema: averaged parameters; where the run has them when None.
    """
    folder = Path(path)
    if (folder / CONFIG).is_file():
        return Opened(load_model(folder), None, None)
    run = RunDir.open(folder)
    text = read_config(run.config)
    settings = read_run(text.tree, text.positions)
    trainer = Trainer.resume(folder, model=build(settings), mesh=None)
    averaged = settings.trainer.ema_decay is not None if ema is None else ema
    return Opened(trainer.model(ema=averaged), settings, trainer.step)


def conditions_of(model: GenerativeModel, given: Sequence[str]) -> dict[str, Any]:
    """Conditions and options written as NAME=VALUE."""
    options: dict[str, Any] = {}
    for entry in given:
        options |= apply_overrides({}, [entry])
    missing = [name for name in model.conditions if name not in options]
    if missing:
        raise ConfigError(
            f"{type(model).__name__}: expected the condition {missing[0]!r}, got none. Add: --option {missing[0]}=0"
        )
    return options


def run_failed(path: str, error: OSError) -> RunError:
    """An error of the file system, as a failed run."""
    return RunError(f"{path}: expected to read and write here, got {error.strerror or error}.")
