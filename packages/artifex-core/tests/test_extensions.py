"""Extensions: their losses enter the training loss, their outputs the model's outputs."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.extensions import ExtendedModel, ModelExtension
from artifex.core.model import GenerativeModel
from artifex.core.training.config import OptimizerConfig, TrainerConfig
from artifex.core.training.objective import Objective, TrainingSpec, forward_loss
from artifex.core.training.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class MeanConfig(ModelConfig):
    """Nothing to set."""


class Mean(GenerativeModel):
    """½ (x − μ)²: its optimum is the mean of the data."""

    def __init__(self, config: MeanConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.mu = nnx.Param(jnp.zeros(()))

    def __call__(self, x, *, rngs=None):
        return {"gap": x - self.mu[...]}

    def loss_fn(self, batch, outputs):
        return {"loss": 0.5 * (outputs["gap"] ** 2).mean()}

    def generate(self, n_samples=1, *, rngs=None):
        return jnp.full((n_samples, 1), self.mu[...])


class Player(Mean):
    """The same with two objectives by name."""

    def training_spec(self):
        return TrainingSpec(objectives=(Objective(name="a", loss=forward_loss), Objective(name="b", loss=forward_loss)))


class Pull:
    """Adds weight · ½ (μ − target)², so that the optimum moves to (mean + weight · target) / (1 + weight)."""

    def __init__(self, target: float, weight: float = 1.0, objective: str | None = None, name: str = "pull") -> None:
        self.name, self.target, self.weight, self.objective = name, target, weight, objective

    def apply(self, model, batch, outputs):
        return model.mu[...] - self.target

    def compute_loss(self, batch, outputs):
        return 0.5 * outputs[self.name] ** 2


X = np.array([[1.0], [3.0]], np.float32)


def fit(model) -> list[dict[str, float]]:
    config = TrainerConfig(steps=400, batch_size=2, optimizer=OptimizerConfig(name="sgd", learning_rate=0.1))
    return Trainer(model, config).fit(X)


def test_the_loss_term_moves_the_optimum():
    model = Mean(MeanConfig(), rngs=nnx.Rngs(0))
    extended = ExtendedModel(model, [Pull(10.0, weight=3.0)], rngs=nnx.Rngs(0))
    rows = fit(extended)
    assert float(extended.model.mu[...]) == pytest.approx((2 + 3 * 10) / 4, abs=1e-4)
    assert rows[-1]["pull"] == pytest.approx(0.5 * (8 - 10) ** 2, abs=1e-3)


def test_outputs_hold_what_the_extension_adds():
    extended = ExtendedModel(Mean(MeanConfig(), rngs=nnx.Rngs(0)), [Pull(4.0)], rngs=nnx.Rngs(0))
    outputs = extended(jnp.asarray(X))
    assert float(outputs["pull"]) == -4.0
    np.testing.assert_array_equal(outputs["gap"], X)
    assert isinstance(Pull(1.0), ModelExtension)


def test_an_extension_joins_the_objective_that_it_names():
    model = ExtendedModel(Player(MeanConfig(), rngs=nnx.Rngs(0)), [Pull(10.0, objective="b")], rngs=nnx.Rngs(0))
    rows = fit(model)
    assert "a/pull" not in rows[-1]
    assert "b/pull" in rows[-1]
    # a pulls to 2, and b to (2 + 10) / 2 with twice the curvature: their alternating steps of 0.1 and 0.2 rest near 4.5
    assert 2 < float(model.model.mu[...]) < 6


@pytest.mark.parametrize(
    ("extensions", "message"),
    [
        ([Pull(1.0)], "expected extension 'pull' to name one of the objectives"),
        ([Pull(1.0, objective="c")], "got 'c'"),
        ([Pull(1.0, objective="a"), Pull(2.0, objective="b")], "expected extensions with different names"),
    ],
)
def test_unclear_extensions_are_refused(extensions, message):
    with pytest.raises(ValueError, match=message):
        ExtendedModel(Player(MeanConfig(), rngs=nnx.Rngs(0)), extensions, rngs=nnx.Rngs(0))


def test_samples_are_the_model_s_own():
    extended = ExtendedModel(Mean(MeanConfig(), rngs=nnx.Rngs(0)), [Pull(4.0)], rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(extended.sample(2, rngs=nnx.Rngs(0)), np.zeros((2, 1)))
