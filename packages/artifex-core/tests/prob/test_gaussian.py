"""Gaussians against scipy and Monte Carlo."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from artifex.core.prob import gaussian
from artifex.core.prob.gaussian import Gaussian


def random_gaussian(seed: int, shape: tuple[int, ...] = (4, 3)) -> Gaussian:
    rng = np.random.default_rng(seed)
    return Gaussian(jnp.asarray(rng.standard_normal(shape)), jnp.asarray(0.5 * rng.standard_normal(shape)))


@pytest.fixture(scope="module")
def q() -> Gaussian:
    return random_gaussian(0)


@pytest.fixture(scope="module")
def p() -> Gaussian:
    return random_gaussian(1)


def test_log_prob_is_scipy_s(q):
    x = np.random.default_rng(2).standard_normal((4, 3)).astype(np.float32)
    expected = stats.norm.logpdf(x, q.mean, np.exp(q.log_std)).sum(1)
    np.testing.assert_allclose(gaussian.log_prob(q, jnp.asarray(x)), expected, rtol=1e-5)


def test_kl_is_the_mean_log_ratio_of_draws(q, p):
    draws = jax.vmap(lambda key: gaussian.sample(q, nnx.Rngs(key)))(jax.random.split(jax.random.key(0), 20_000))
    ratio = jax.vmap(lambda z: gaussian.log_prob(q, z) - gaussian.log_prob(p, z))(draws)
    error = ratio.std(0) / np.sqrt(20_000)
    assert np.all(np.abs(ratio.mean(0) - gaussian.kl(q, p)) < 4 * error)


def test_kl_is_zero_at_itself_and_positive_elsewhere(q, p):
    np.testing.assert_allclose(gaussian.kl(q, q), 0, atol=1e-6)
    assert np.all(np.asarray(gaussian.kl(q, p)) > 0)


def test_kl_to_the_standard_normal_is_the_general_one(q):
    np.testing.assert_allclose(gaussian.kl_to_standard_normal(q), gaussian.kl(q, gaussian.standard_like(q)), rtol=1e-5)


def test_product_is_the_normalised_product_of_densities(q, p):
    merged = gaussian.product(q, p)
    x = np.linspace(-4, 4, 9)
    for row in range(4):
        for i in range(3):
            parts = [stats.norm.logpdf(x, g.mean[row, i], np.exp(g.log_std[row, i])) for g in (q, p, merged)]
            gap = parts[0] + parts[1] - parts[2]  # a constant: the logarithm of the normaliser
            np.testing.assert_allclose(gap, gap[0], atol=1e-4)  # float32 moments


def test_draws_have_the_moments(q):
    draws = jax.vmap(lambda key: gaussian.sample(q, nnx.Rngs(key)))(jax.random.split(jax.random.key(1), 20_000))
    std = np.exp(np.asarray(q.log_std))
    assert np.all(np.abs(draws.mean(0) - q.mean) < 4.5 * std / np.sqrt(20_000))
    assert np.all(np.abs(draws.std(0) / std - 1) < 4.5 / np.sqrt(2 * 20_000))
