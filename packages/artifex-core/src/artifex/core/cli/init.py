"""`artifex init MODEL`: a config file to start from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from artifex.core.config_text import write_config
from artifex.core.data.load import dataset_record
from artifex.core.errors import ConfigError
from artifex.core.registry import load_target, model_record
from artifex.core.training.config import TrainerConfig


def run(argv: Sequence[str]) -> int:
    """Write a config with every field and its default."""
    parser = argparse.ArgumentParser(
        "artifex init",
        description="Write a config file.",
        epilog="example: artifex init vae --data digits --out vae.yaml",
    )
    parser.add_argument("model", help="a model; see artifex list-models")
    parser.add_argument("--data", default="digits", help="a data set; see artifex list-datasets (digits)")
    parser.add_argument("--out", help="the file (MODEL.yaml)")
    arguments = parser.parse_args(argv)
    out = Path(arguments.out or f"{arguments.model}.yaml")
    if out.exists():
        raise ConfigError(f"{out}: expected a new file, got one that exists. Choose another name with --out.")
    record = model_record(arguments.model)
    dataset_record(arguments.data)
    model = load_target(record.config)()
    trainer = TrainerConfig().to_dict()
    optimizer = trainer.pop("optimizer")
    trainer.pop("optimizers")
    tree = {"model": {"type": record.name, **model.to_dict()}, "data": arguments.data, "trainer": trainer}
    write_config({**tree, "optimizer": optimizer}, out)
    print(out)
    return 0
