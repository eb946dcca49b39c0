"""A run as a tree of plain values, the way a YAML file holds it.

model:      {type: vae, latent_dim: 8}
data:       digits                        a name, or {type: digits, ...}
trainer:    {steps: 2000, batch_size: 128}
optimizer:  {name: adam, learning_rate: 1e-3}
optimizers: [{objective: critic, ...}]    where a model has several objectives
mesh:       {data_parallel_size: 4}
evaluation: {metrics: [...]}
extensions: [{type: bond_length, ...}]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from artifex.core.config import Config, ModelConfig
from artifex.core.convert import convert
from artifex.core.errors import ConfigError, did_you_mean
from artifex.core.mesh import ShardingConfig
from artifex.core.registry import record_of
from artifex.core.training.config import TrainerConfig

SECTIONS = ("model", "data", "trainer", "optimizer", "optimizers", "mesh", "evaluation", "extensions")


MOVED = "config.optimizer"  # a file holds it, and `optimizers`, at the top; TrainerConfig inside


@dataclass(frozen=True, kw_only=True)
class Typed(Config):
    """The sections whose values are configs."""

    model: ModelConfig
    trainer: TrainerConfig
    mesh: ShardingConfig | None = None


class RunConfig(NamedTuple):
    """A run: what is trained, on what, and how."""

    model: ModelConfig
    trainer: TrainerConfig
    data: Any = None  # a data set's name or a mapping with its `type`
    mesh: ShardingConfig | None = None
    evaluation: Mapping[str, Any] | None = None
    extensions: tuple[Any, ...] = ()


def read_run(tree: Mapping[str, Any], positions: Any = None) -> RunConfig:
    """The run that a tree describes.

    Raises:
        ConfigError: with one line for each mistake in it.
    """
    problems = [
        f"config.{name}: a run has no section {name!r}.{did_you_mean(name, SECTIONS)} Sections: {', '.join(SECTIONS)}."
        for name in tree
        if name not in SECTIONS
    ]
    trainer = dict(tree.get("trainer") or {})
    for name in ("optimizer", "optimizers"):
        if name in trainer and name in tree:
            problems.append(f"config.{name}: expected one of 'trainer.{name}' and '{name}', got both. Leave one out.")
        elif name in tree:
            trainer[name] = tree[name]
    typed_tree = {name: tree[name] for name in ("model", "mesh") if name in tree} | {"trainer": trainer}
    moved = {f"config.trainer{path[6:]}": at for path, at in (positions or {}).items() if path.startswith(MOVED)}
    try:
        typed = convert(Typed, typed_tree, path="config", positions={**(positions or {}), **moved})
    except ConfigError as error:
        inside = "optimizer" in (tree.get("trainer") or {})
        found = (line if inside else line.replace("config.trainer.optimizer", MOVED) for line in error.problems)
        raise ConfigError([*problems, *found]) from None
    if problems:
        raise ConfigError(problems)
    return RunConfig(
        typed.model, typed.trainer, tree.get("data"), typed.mesh, tree.get("evaluation"),
        tuple(tree.get("extensions") or ()),
    )  # fmt: skip


def write_run(run: RunConfig) -> dict[str, Any]:
    """The tree that `read_run` reads as this run; a model that is not registered has no `type`."""
    record = record_of(run.model)
    trainer = run.trainer.to_dict()
    tree: dict[str, Any] = {
        "model": ({} if record is None else {"type": record.name}) | run.model.to_dict(),
        "data": run.data,
        "trainer": {name: value for name, value in trainer.items() if name not in ("optimizer", "optimizers")},
        "optimizer": trainer["optimizer"],
        "optimizers": trainer["optimizers"],
        "mesh": None if run.mesh is None else run.mesh.to_dict(),
        "evaluation": run.evaluation,
        "extensions": list(run.extensions),
    }
    return {name: value for name, value in tree.items() if value not in (None, [], ())}
