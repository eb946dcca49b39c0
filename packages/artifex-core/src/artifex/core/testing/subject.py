"""What the checks look at: a registered model with its tiny example, built and trained once for all of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.leaves import flatten, merge
from artifex.core.model import GenerativeModel
from artifex.core.registry import load_target, registry
from artifex.core.training.config import OptimizerConfig, TrainerConfig
from artifex.core.training.objective import Objective, StepContext, training_spec
from artifex.core.training.trainer import Trainer

LEARN_STEPS = 100
OPTIMIZER = OptimizerConfig(learning_rate=3e-3)


class Trained(NamedTuple):
    """A model before and after some steps on its batch."""

    before: Any
    after: Any
    rows: list[dict[str, float]]


class Subject:
    """A registered model under test."""

    def __init__(self, name: str) -> None:
        self.registered = registry.get(name)
        self.record = self.registered.record
        self.config, self.batch = load_target(self.record.example)()

    def build(self, seed: int = 0, config: ModelConfig | None = None) -> Any:
        """A new model."""
        return load_target(self.record.model)(config or self.config, rngs=nnx.Rngs(seed))

    @functools.cached_property
    def n(self) -> int:
        """Rows of the batch."""
        return len(self.batch["x"])

    @functools.cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """The model's objectives."""
        return training_spec(self.build()).objectives

    @functools.cached_property
    def additive(self) -> bool:
        """Whether every loss is a mean over examples."""
        return all(objective.additive for objective in self.objectives)

    def conditions(self, n: int) -> dict[str, Any]:
        """Conditions of n samples, from the batch."""
        names = load_target(self.record.model).conditions
        return {name: self.batch[name][np.arange(n) % self.n] for name in names}

    def trainer(self, model: GenerativeModel | None = None, **settings: Any) -> Trainer:
        """A trainer of a new model on the whole batch."""
        options = {name: settings.pop(name) for name in ("mesh", "run_dir") if name in settings}
        config = TrainerConfig(
            **{"steps": 20, "batch_size": self.n, "log_every": 1, "optimizer": OPTIMIZER, **settings}
        )
        return Trainer(model or self.build(), config, **options)

    @functools.cached_property
    def trained(self) -> Trained:
        """The model before and after training on one batch."""
        model = self.build()
        trainer = self.trainer(model, steps=LEARN_STEPS)
        before = trainer.model()
        rows = trainer.fit(self.batch)
        return Trained(before, trainer.model(), rows)

    def losses(
        self, batch: Mapping[str, Any], seed: int = 0, *, jit: bool = True, train: bool = False, of: Any = None
    ) -> dict[str, Any]:
        """Loss terms of every objective on a batch, with fixed noise, of a new model or of the one given."""
        layout, arrays = flatten(self.build() if of is None else of)

        def run(arrays: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
            terms: dict[str, Any] = {}
            for objective in self.objectives:
                model = merge(layout, arrays)
                model.train() if train else model.eval()
                context = StepContext(jax.numpy.asarray(1000), 1000, nnx.Rngs(key))
                values = objective.loss(model, batch, context)
                terms |= {f"{objective.name}/{name}": value for name, value in values.items()}
            return terms

        return (jax.jit(run) if jit else run)(
            arrays, jax.tree.map(jax.numpy.asarray, dict(batch)), jax.random.key(seed)
        )


@functools.cache
def subject(name: str) -> Subject:
    """The subject of a name, shared by all checks of a process."""
    return Subject(name)
