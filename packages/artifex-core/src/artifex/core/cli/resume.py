"""`artifex resume RUN`: go on with a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from artifex.core.cli.run_files import build, split_of
from artifex.core.cli.train import held_out_of
from artifex.core.config_text import read_config
from artifex.core.processes import bootstrap
from artifex.core.training.callbacks import ProgressBar
from artifex.core.training.run_config import read_run
from artifex.core.training.run_dir import RunDir
from artifex.core.training.trainer import Trainer


def run(argv: Sequence[str]) -> int:
    """Go on from the newest sound checkpoint to the last step; the run's folder goes to stdout."""
    parser = argparse.ArgumentParser(
        "artifex resume", description="Go on with a run.", epilog="example: artifex resume runs/a"
    )
    parser.add_argument("run", help="the run's folder")
    arguments = parser.parse_args(argv)
    bootstrap()
    text = read_config(RunDir.open(arguments.run).config)
    config = read_run(text.tree, text.positions)
    data = split_of(config, "train")
    trainer = Trainer.resume(arguments.run, model=build(config), callbacks=[ProgressBar()], or_start=True)
    trainer.fit(data, held_out=held_out_of(config))
    print(arguments.run)
    return 0
