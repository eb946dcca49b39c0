"""Base densities against scipy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

from artifex.flow.base import ConditionalNormal, StandardNormal, Uniform


@pytest.fixture
def conditional():
    base = ConditionalNormal((2,), 3, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    base.linear.kernel[...] = jnp.asarray(0.5 * rng.standard_normal((3, 4)), jnp.float32)
    base.linear.bias[...] = jnp.asarray([1.0, -1.0, 0.2, -0.3])
    return base


def test_the_standard_normal_is_that_of_scipy():
    z = np.random.default_rng(0).standard_normal((4, 3))
    expected = scipy.stats.norm.logpdf(z).sum(1)
    np.testing.assert_allclose(StandardNormal((3,)).log_prob(jnp.asarray(z)), expected, rtol=1e-5)


def test_the_conditional_normal_has_affine_moments(conditional):
    rng = np.random.default_rng(1)
    z, c = rng.standard_normal((4, 2)), rng.standard_normal((4, 3))
    out = c @ np.asarray(conditional.linear.kernel[...]) + np.asarray(conditional.linear.bias[...])
    expected = scipy.stats.norm.logpdf(z, out[:, :2], np.exp(out[:, 2:])).sum(1)
    np.testing.assert_allclose(conditional.log_prob(jnp.asarray(z), jnp.asarray(c)), expected, rtol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_have_the_moments_of_the_density(conditional, temperature):
    n = 20_000
    c = jnp.broadcast_to(jnp.asarray([0.3, -0.2, 0.5]), (n, 3))
    draws = np.asarray(conditional.sample(n, nnx.Rngs(0), c, temperature=temperature))
    p = conditional.moments(c[:1])
    std = temperature * np.exp(np.asarray(p.log_std[0]))
    # Four standard errors.
    np.testing.assert_allclose(draws.mean(0), p.mean[0], atol=4 * std.max() / np.sqrt(n))
    np.testing.assert_allclose(draws.std(0), std, atol=4 * std.max() / np.sqrt(2 * n))


def test_the_uniform_is_flat_inside_and_nothing_outside():
    base = Uniform((2,), 3.0)
    z = jnp.asarray([[0.0, 0.0], [3.0, -3.0], [0.0, 3.1]])
    np.testing.assert_allclose(base.log_prob(z), [-2 * np.log(6), -2 * np.log(6), -np.inf], rtol=1e-6)
    draws = np.asarray(base.sample(20_000, nnx.Rngs(0)))
    assert scipy.stats.kstest(draws[:, 0], scipy.stats.uniform(-3, 6).cdf).pvalue > 1e-4
