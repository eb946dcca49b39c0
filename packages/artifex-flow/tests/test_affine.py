"""Affine maps of one number against hand computation and autodiff."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.flow.affine import Bounded, Exponential, Gate

MAPS = {"exponential": Exponential(), "gate": Gate(), "bounded": Bounded(1, rngs=nnx.Rngs(0))}


@pytest.mark.parametrize("name", MAPS)
def test_slope_and_inverse_are_those_of_the_map(x64, name):
    rng = np.random.default_rng(0)
    x, params = jnp.asarray(rng.standard_normal((1, 50))), jnp.asarray(2 * rng.standard_normal((2, 1, 50)))
    z, log_slope = MAPS[name].forward(x, params)
    again, back = MAPS[name].inverse(z, params)
    _, slope = jax.jvp(lambda x: MAPS[name].forward(x, params).value, (x,), (jnp.ones_like(x),))
    np.testing.assert_allclose(log_slope, jnp.log(slope), atol=1e-12)
    np.testing.assert_allclose(again, x, atol=1e-12)
    np.testing.assert_allclose(back, -log_slope, atol=1e-12)


def test_values_are_those_of_the_papers():
    params = jnp.asarray([[[0.5]], [[0.3]]])
    x = jnp.asarray([[2.0]])
    alpha = 0.3 / 1.1
    sigma = 1 / (1 + np.exp(-2 - alpha))
    np.testing.assert_allclose(MAPS["exponential"].forward(x, params).value, (2 - 0.5) * np.exp(-alpha), rtol=1e-6)
    np.testing.assert_allclose(MAPS["gate"].forward(x, params).value, sigma * 2 + (1 - sigma) * 0.5, rtol=1e-6)
    np.testing.assert_allclose(MAPS["bounded"].forward(x, params).value, 2 * np.exp(2 * np.tanh(0.3)) + 0.5, rtol=1e-6)


@pytest.mark.parametrize(("name", "bound"), [("exponential", 3.0), ("bounded", 2.0)])
def test_the_log_scale_stays_in_bounds(name, bound):
    params = jnp.asarray([[[0.0, 0.0]], [[-1e7, 1e7]]])
    for direction in ("forward", "inverse"):
        z, log_slope = getattr(MAPS[name], direction)(jnp.ones((1, 2)), params)
        np.testing.assert_allclose(jnp.abs(log_slope), bound, rtol=1e-6)
        assert float(z.max()) < np.exp(bound) * 1.001
