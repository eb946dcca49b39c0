"""Levels become densities and come back, and their bits are those of closed forms."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.data.source import ArraySource
from artifex.core.data.spec import DataSpec
from artifex.core.evaluation.scoring import Scoring
from artifex.flow.base import StandardNormal, Uniform
from artifex.flow.bijector import Chain
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.image import Flatten
from artifex.flow.levels import Dequantise, Logit, Rescale, from_levels

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("bijector", [Rescale((3,), -1.7, 0.3), Logit((3,)), from_levels((3,), 17, low=-0.5)])
def test_log_det_equals_autodiff_jacobian_and_the_inverse_undoes_it(bijector, laws):
    x = jnp.asarray(np.random.default_rng(1).uniform(0, 1, (4, 3)))
    for error in laws(bijector, x).values():
        assert error < 1e-10


def test_dequantised_levels_fill_their_cells_and_are_restored():
    dequantise = Dequantise(5)
    x = jnp.tile(jnp.arange(5.0) / 4, (2000, 1))
    noisy, log_volume = dequantise(x, nnx.Rngs(0))
    cell = np.asarray((noisy - x) * 4)
    assert cell.min() >= 0
    assert cell.max() < 1
    # Mean and variance of a uniform number, 4 standard errors of 10,000 draws.
    assert abs(cell.mean() - 0.5) < 4 * math.sqrt(1 / 12 / cell.size)
    assert abs(cell.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / cell.size)
    np.testing.assert_allclose(log_volume, -5 * math.log(4), atol=1e-12)
    np.testing.assert_array_equal(dequantise.restore(noisy), x)


def test_a_uniform_density_costs_the_bits_of_its_levels():
    event = (4, 4, 1)
    model = Flow(
        FlowConfig(),
        Uniform(event, 0.5),
        from_levels(event, 17, low=-0.5),
        dequantise=Dequantise(17),
        rngs=nnx.Rngs(0),
    )
    x = jnp.asarray(np.random.default_rng(0).integers(0, 17, (8, *event)) / 16)
    losses = model.loss_fn({"x": x}, model(x, rngs=nnx.Rngs(1)))
    np.testing.assert_allclose(losses["bits_per_dim"], math.log2(17), rtol=1e-12)
    np.testing.assert_allclose(losses["loss"], 16 * math.log(17), rtol=1e-12)
    # And so says the evaluation of any model by any data.
    source = ArraySource({"x": np.asarray(x)}, DataSpec(shape=event, low=0.0, high=1.0, levels=17))
    (found,), _ = Scoring(model, source, "uniform", 0).results(["bits_per_dim"])
    np.testing.assert_allclose(found.value, math.log2(17), rtol=1e-6)


def normal_cdf(z: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(z)


def test_the_bound_of_each_level_is_that_of_quadrature_and_below_its_mass():
    levels, n = 4, 4000
    event = (1, 1, 1)
    bijector = Chain(from_levels(event, levels), Logit(event), Flatten(event))
    model = Flow(FlowConfig(), StandardNormal((1,)), bijector, dequantise=Dequantise(levels), rngs=nnx.Rngs(0))
    edges = np.linspace(0, 1, levels + 1)
    z = np.log(0.05 + 0.9 * edges) - np.log(0.95 - 0.9 * edges)
    mass = np.diff(normal_cdf(z))
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for k in range(levels):
        x = jnp.full((n, *event), k / (levels - 1))
        draws = np.asarray(model(x, rngs=nnx.Rngs(k))["log_prob"])
        y = (k + (nodes + 1) / 2) / levels
        p = 0.05 + 0.9 * y
        density = -0.5 * (np.log(p / (1 - p)) ** 2 + math.log(2 * math.pi)) + np.log(0.9 / (p * (1 - p)))
        bound = weights @ density / 2 - math.log(levels)
        assert abs(draws.mean() - bound) < 4 * draws.std() / math.sqrt(n)
        assert bound < math.log(mass[k])


def test_logit_gives_no_density_outside_its_support_and_finite_gradients():
    logit = Logit((1,))
    x = jnp.asarray([[-0.2], [0.0], [1.0], [1.2]])
    np.testing.assert_array_equal(np.isfinite(logit.forward(x).log_det), [False, True, True, False])
    gradient = jax.grad(lambda x: logit.forward(x).value.sum())(x)
    assert np.isfinite(gradient).all()


def test_an_alpha_without_a_logit_is_refused():
    with pytest.raises(ValueError, match=r"0 < 'alpha' < 1/2, got 0.5"):
        Logit((2, 2, 1), alpha=0.5)
