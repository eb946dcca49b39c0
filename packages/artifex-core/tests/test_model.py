"""Sampling: compiled once, the same by row, in evaluation mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.model import GenerativeModel
from artifex.core.prob import noise
from artifex.core.testing.events import traced


@dataclass(frozen=True, kw_only=True)
class EchoConfig(ModelConfig):
    """A shift."""

    shift: float = 10.0


class Echo(GenerativeModel):
    """shift + y + scale ε, and one more while training."""

    conditions: ClassVar[tuple[str, ...]] = ("y",)

    def __init__(self, config: EchoConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.shift = nnx.Param(jnp.asarray(config.shift))
        self.deterministic = False

    def __call__(self, x, *, y, rngs=None):
        return {"x": x}

    def loss_fn(self, batch, outputs):
        return {"loss": outputs["x"].mean() * self.shift[...]}

    def generate(self, n_samples=1, *, y=0.0, scale=1.0, double=False, rngs=None):
        eps = noise.normal(self.rngs_or_own(rngs), (n_samples, 2))
        extra = 0.0 if self.deterministic else 1.0
        x = self.shift[...] + jnp.reshape(jnp.asarray(y, jnp.float32), (-1, 1)) + scale * eps + extra
        return 2 * x if double else x


@pytest.fixture
def model() -> Echo:
    return Echo(EchoConfig(), rngs=nnx.Rngs(0))


def test_sample_is_generate_in_evaluation_mode(model):
    x = model.sample(3, rngs=nnx.Rngs(1), y=0.0, scale=0.0)
    np.testing.assert_array_equal(x, np.full((3, 2), 10.0))
    assert model.deterministic is False  # the model itself is left as it was


def test_chunks_and_counts_do_not_change_a_row(model):
    whole = np.asarray(model.sample(7, rngs=nnx.Rngs(1), y=np.arange(7.0)))
    for size in (1, 2, 3, 7, 50):
        np.testing.assert_array_equal(model.sample(7, rngs=nnx.Rngs(1), y=np.arange(7.0), batch_size=size), whole)
    np.testing.assert_array_equal(model.sample(4, rngs=nnx.Rngs(1), y=np.arange(4.0)), whole[:4])


def test_a_condition_is_one_for_all_or_one_a_row(model):
    one = model.sample(3, rngs=nnx.Rngs(1), y=5.0)
    np.testing.assert_array_equal(model.sample(3, rngs=nnx.Rngs(1), y=np.full(3, 5.0)), one)
    with pytest.raises(ValueError, match="expected one value of 'y' a sample, so 3, got 2"):
        model.sample(3, rngs=nnx.Rngs(1), y=np.ones(2))


def test_floats_are_arguments_and_bools_are_not(model):
    model.sample(3, rngs=nnx.Rngs(1), y=0.0, scale=1.0)
    rngs = nnx.Rngs(2)
    with traced() as events:
        model.sample(3, rngs=rngs, y=0.0, scale=0.5)
    assert events == []
    plain = model.sample(3, rngs=nnx.Rngs(1), y=0.0)
    np.testing.assert_allclose(model.sample(3, rngs=nnx.Rngs(1), y=0.0, double=True), 2 * plain)


def test_the_model_s_own_stream_moves_on(model):
    other = Echo(EchoConfig(), rngs=nnx.Rngs(0))
    a, b = (np.asarray(model.sample(3, y=0.0)) for _ in range(2))
    assert np.abs(a - b).min() > 0
    np.testing.assert_array_equal(other.sample(3, y=0.0), a)  # an equal model draws the same


def test_new_weights_need_no_new_program(model):
    model.sample(3, rngs=nnx.Rngs(1), y=0.0, scale=0.0)
    model.shift.set_value(jnp.asarray(20.0))
    np.testing.assert_array_equal(model.sample(3, rngs=nnx.Rngs(1), y=0.0, scale=0.0), np.full((3, 2), 20.0))


@pytest.mark.parametrize("options", [{"n_samples": 0}, {"n_samples": 2, "batch_size": 0}])
def test_counts_below_one_are_refused(model, options):
    with pytest.raises(ValueError, match=r"expected '(n_samples|batch_size)' >= 1, got 0"):
        model.sample(y=0.0, **options)


def test_config_dtype_is_the_parameters_dtype():
    assert Echo(EchoConfig(dtype="bfloat16"), rngs=nnx.Rngs(0)).shift[...].dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="expected a dtype that jax computes in now, got float64"):
        Echo(EchoConfig(dtype="float64"), rngs=nnx.Rngs(0))
    with jax.enable_x64(True):
        assert Echo(EchoConfig(dtype="float64"), rngs=nnx.Rngs(0)).shift[...].dtype == jnp.float64
