"""`artifex init MODEL --data DATA`: a config file to start from, of a model that fits the data."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from artifex.core.cli.run_files import build
from artifex.core.config import ModelConfig
from artifex.core.config_text import write_config
from artifex.core.data.load import load_dataset
from artifex.core.data.source import Source
from artifex.core.errors import ConfigError
from artifex.core.overrides import apply_overrides
from artifex.core.registry import load_target, model_record, require
from artifex.core.training.config import TrainerConfig
from artifex.core.training.run_config import RunConfig, read_run, write_run
from artifex.core.training.trainer import check_data

EXAMPLES = """\
examples:
  artifex init vae --data digits --out vae.yaml
  artifex init vae --set data.binarise=threshold --set model.latent_dim=8
  artifex init neural_spline --data csv --set data.file=table.csv
"""


def run(argv: Sequence[str]) -> int:
    """Write a config with every field: the model's shaped by the data, the optimizer's as suits the model."""
    parser = argparse.ArgumentParser(
        "artifex init",
        description="Write a config file whose model fits the data.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="a model; see artifex list-models")
    parser.add_argument("--data", help="a data set; see artifex list-datasets (digits, or two_moons)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", dest="settings",
        help="a value of the file, such as data.file=table.csv or trainer.steps=5000; may be repeated",
    )  # fmt: skip
    parser.add_argument("--out", help="the file (MODEL.yaml)")
    arguments = parser.parse_args(argv)
    out = Path(arguments.out or f"{arguments.model}.yaml")
    if out.exists():
        raise ConfigError(f"{out}: expected a new file, got one that exists. Choose another name with --out.")
    write_config(start(arguments.model, arguments.data, arguments.settings), out)
    print(f"artifex: train it with: artifex train {out}", file=sys.stderr)
    print(out)
    return 0


def start(model: str, data: str | None = None, settings: Sequence[str] = ()) -> dict[str, Any]:
    """The tree of a run of this model on these data, with settings; the model has accepted the data."""
    record = model_record(model)
    require(record)
    data = data or ("two_moons" if record.modalities == ("tabular",) else "digits")
    about_data = [setting for setting in settings if setting.partition("=")[0].split(".")[0].strip() == "data"]
    described = apply_overrides({"data": data}, about_data)["data"]
    source = load_dataset(described)
    config = load_target(record.config).for_data(source.spec, len(source))
    run = RunConfig(config, trainer_for(config, len(source)), described)
    tree = apply_overrides(write_run(run), [setting for setting in settings if setting not in about_data])
    check(read_run(tree), source)
    return tree


def trainer_for(config: ModelConfig, n: int) -> TrainerConfig:
    """What the model asks for, with batches halved, which keeps what divides them, until the data fill one."""
    trainer = TrainerConfig.from_dict(config.training)
    while trainer.batch_size > n:
        trainer = trainer.replace(batch_size=trainer.batch_size // 2)
    return trainer


def check(run: RunConfig, source: Source) -> None:
    """Let the model look at the data; shapes alone, nothing is computed."""

    def look() -> None:
        check_data(build(run), source)

    nnx.eval_shape(look)
