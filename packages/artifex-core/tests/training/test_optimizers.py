"""Learning-rate schedules at points where their value is known, and weights that are projected."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.training.config import OptimizerConfig, TrainerConfig
from artifex.core.training.objective import Objective, TrainingSpec
from artifex.core.training.optimizers import learning_rate
from artifex.core.training.trainer import Trainer


def rates(*counts, **fields):
    return [float(learning_rate(OptimizerConfig(learning_rate=2.0, **fields), 100, n)) for n in counts]


def test_a_linear_schedule_that_is_held_falls_in_what_is_left():
    np.testing.assert_allclose(rates(0, 50, 75, 100, schedule="linear", hold=0.5), [2.0, 2.0, 1.0, 0.0])


def test_a_cosine_ends_at_its_final_share():
    found = rates(0, 50, 100, schedule="cosine", final=0.25)
    np.testing.assert_allclose(found, [2.0, 1.25, 0.5], rtol=1e-6)


def test_hold_begins_after_the_warm_up():
    found = rates(0, 19, 60, 100, schedule="linear", hold=0.5, warmup_steps=20)
    np.testing.assert_allclose(found, [0.1, 2.0, 2.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("fields", [{"hold": 1.0}, {"hold": -0.1}, {"final": -1.0}])
def test_shares_out_of_range_are_refused(fields):
    with pytest.raises(ValueError, match="expected 0 <= 'hold' < 1 and 'final' >= 0, got"):
        OptimizerConfig(**fields)


class Line(nnx.Module):
    """One weight that its loss pushes up."""

    conditions = ()

    def __init__(self):
        self.w = nnx.Param(jnp.zeros(()))

    def __call__(self, x, *, rngs=None):
        return {"y": self.w[...] * x}

    def loss_fn(self, batch, outputs):
        return {"loss": -outputs["y"].mean()}

    def generate(self, n_samples=1, *, rngs=None):
        return jnp.zeros(n_samples)

    def training_spec(self):
        def loss(model, batch, ctx):
            return model.loss_fn(batch, model(batch["x"]))

        return TrainingSpec(objectives=(Objective(name="loss", loss=loss, project=lambda w: jnp.clip(w, -0.3, 0.3)),))


def test_a_projection_follows_each_update():
    config = TrainerConfig(steps=5, batch_size=4, optimizer=OptimizerConfig(name="sgd", learning_rate=0.2))
    trainer = Trainer(Line(), config)
    found = []
    for _ in range(3):
        trainer.fit({"x": np.ones((4, 1), np.float32)}, steps=1)
        found.append(float(trainer.state.params["w"]))
    np.testing.assert_allclose(found, [0.2, 0.3, 0.3], rtol=1e-6)
