"""What the checks look at: a registered model with its tiny example, built and trained once for all of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.leaves import Layout, flatten, merge
from artifex.core.model import GenerativeModel
from artifex.core.registry import load_target, registry
from artifex.core.testing.events import traced
from artifex.core.training.config import OptimizerConfig, TrainerConfig
from artifex.core.training.objective import Objective, StepContext, training_spec
from artifex.core.training.trainer import Trainer

LEARN_STEPS = 100
OPTIMIZER = OptimizerConfig(learning_rate=3e-3, schedule="cosine", warmup_steps=5)


class Trained(NamedTuple):
    """A model before and after some steps on its batch."""

    before: Any
    after: Any
    rows: list[dict[str, float]]
    traced_again: list[str]  # what was traced after the first steps


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

    @functools.cached_property
    def parts(self) -> int:
        """In how many parts a batch is computed."""
        return 2 if self.additive and self.n % 2 == 0 else 1

    def trainer(self, model: GenerativeModel | None = None, **settings: Any) -> Trainer:
        """A trainer of a new model on the whole batch, with every service on.

        All checks use these settings, because each other program would have to be compiled for every model.
        """
        options = {name: settings.pop(name) for name in ("mesh", "run_dir") if name in settings}
        services = {"ema_decay": 0.9, "grad_accum": self.parts, "optimizer": OPTIMIZER, "log_every": 1}
        config = TrainerConfig(**{"steps": LEARN_STEPS, "batch_size": self.n, **services, **settings})
        return Trainer(model or self.build(), config, **options)

    @functools.cached_property
    def trained(self) -> Trained:
        """The model before and after training on one batch."""
        model = self.build()
        trainer = self.trainer(model)
        before = trainer.model()
        trainer.fit(self.batch, steps=2)
        with traced() as events:
            rows = trainer.fit(self.batch)
        return Trained(before, trainer.model(), rows, events)

    @functools.cached_property
    def first_row(self) -> dict[str, Any]:
        """The first row of the batch, which counts."""
        return {**{name: x[:1] for name, x in self.batch.items()}, "mask": np.ones(1, np.float32)}

    def losses(self, batch: Mapping[str, Any], *, jit: bool = True, of: Any = None) -> dict[str, Any]:
        """Loss terms of every objective on a batch, with fixed noise, of a new model or of `of`, in evaluation mode."""
        _, arrays = flatten(self.build() if of is None else of)
        run = self._compiled_losses if jit else self._losses
        return run(arrays, jax.tree.map(jax.numpy.asarray, dict(batch)), jax.random.key(0))

    @functools.cached_property
    def _compiled_losses(self) -> Any:
        return jax.jit(self._losses)

    def _losses(self, arrays: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
        terms: dict[str, Any] = {}
        for objective in self.objectives:
            model = merge(self._layout, arrays)
            model.eval()
            context = StepContext(jax.numpy.asarray(1000), 1000, nnx.Rngs(key))
            values = objective.loss(model, batch, context)
            terms |= {f"{objective.name}/{name}": value for name, value in values.items()}
        return terms

    @functools.cached_property
    def _layout(self) -> Layout:
        return flatten(self.build())[0]


@functools.cache
def subject(name: str) -> Subject:
    """The subject of a name, shared by all checks of a process."""
    return Subject(name)
