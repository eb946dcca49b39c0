"""`artifex train CONFIG`: train a model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import jax

from artifex.core.cli.listing import table
from artifex.core.cli.run_files import build, config_arguments, read_settings, split_of
from artifex.core.data.source import Source
from artifex.core.processes import bootstrap
from artifex.core.training.callbacks import Callback, Profile, ProgressBar, TensorBoard
from artifex.core.training.run_config import RunConfig, write_run
from artifex.core.training.run_dir import RunDir
from artifex.core.training.trainer import Trainer

EXAMPLES = """\
examples:
  artifex train vae.yaml --out runs/a
  artifex train vae.yaml --set model.beta=4 --set trainer.steps=5000 --out runs/b4
  artifex train vae.yaml --dry-run
"""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(
        "artifex train",
        description="Train a model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    config_arguments(made)
    made.add_argument("--out", help="the run's folder, new or empty; default runs/MODEL")
    made.add_argument("--devices", type=int, help="devices that share the batch")
    made.add_argument("--dry-run", action="store_true", help="say what would be done, and where everything would lie")
    made.add_argument("--json", action="store_true", help="print the dry run as JSON")
    made.add_argument("--tensorboard", action="store_true", help="write TensorBoard scalars into the run's folder")
    made.add_argument("--profile", metavar="FIRST:LAST", help="profile these steps into the run's folder")
    return made


def run(argv: Sequence[str]) -> int:
    """Train; the run's folder goes to stdout."""
    arguments = parser().parse_args(argv)
    bootstrap()
    settings = list(arguments.settings)
    if arguments.devices is not None:
        settings.append(f"mesh.data_parallel_size={arguments.devices}")
    config = read_settings(arguments.config, settings)
    data = split_of(config, "train")
    model = build(config)
    trainer = Trainer(model, config.trainer, mesh=config.mesh)
    if arguments.dry_run:
        return dry_run(trainer, data, as_json=arguments.json)
    out = Path(arguments.out or f"runs/{write_run(config)['model']['type']}")
    held_out = held_out_of(config)
    trainer.check(data)  # everything that can be refused is refused before the folder is made
    trainer.attach(RunDir.create(out, write_run(config)))
    trainer.callbacks = tuple(callbacks(arguments, out))
    trainer.fit(data, held_out=held_out)
    print(out)
    return 0


def held_out_of(config: RunConfig) -> Source | None:
    """The held-out split, where the run looks at it."""
    return split_of(config, "test") if config.trainer.evaluate_every is not None else None


def callbacks(arguments: argparse.Namespace, out: Path) -> list[Callback]:
    """What watches the run."""
    found: list[Callback] = [ProgressBar()]
    if arguments.tensorboard:
        found.append(TensorBoard(out / "tensorboard"))
    if arguments.profile:
        first, _, last = arguments.profile.partition(":")
        found.append(Profile(out / "profile", int(first), int(last or first)))
    return found


def dry_run(trainer: Trainer, data: Source, *, as_json: bool) -> int:
    """Print the mesh, where each parameter lies and why, the bytes of state and the step's memory."""
    facts = trainer.describe(data)
    mesh, rows = trainer.placement.mesh, trainer.placement.describe(trainer.state)
    axes = {} if mesh is None else dict(mesh.shape)
    if as_json:
        print(json.dumps({"schema": 1, "mesh": axes, **facts, "parameters_placed": [row._asdict() for row in rows]}))
        return 0
    print(f"mesh  {axes or 'one device'}, {jax.devices()[0].platform}\n")
    table([("parameter", "shape", "placement", "bytes a device", ""), *((r[0], r[1], r[2], r[3], r[4]) for r in rows)])
    print()
    table([(name.replace("_", " "), f"{value:,.0f}") for name, value in facts.items()])
    return 0
