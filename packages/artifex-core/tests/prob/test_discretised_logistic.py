"""The discretised logistic against its definition in float64."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import expit

from artifex.core.prob.discretised_logistic import log_prob, sample


@pytest.mark.parametrize(("levels", "low", "high"), [(2, 0.0, 1.0), (17, 0.0, 1.0), (256, -1.0, 1.0)])
def test_levels_sum_to_one(levels, low, high):
    values = jnp.linspace(low, high, levels)
    for mean, log_scale in [(0.3, -1.0), (-0.9, -3.0), (2.0, 0.5)]:
        log_p = log_prob(values, jnp.full(levels, mean), jnp.full(levels, log_scale), levels=levels, low=low, high=high)
        assert abs(np.exp(np.asarray(log_p, float)).sum() - 1) < 2e-6 * np.sqrt(levels)  # float32 terms


def test_log_prob_is_the_difference_of_two_logistic_functions():
    levels, half = 17, 0.5 / 16
    x = np.linspace(0, 1, levels)
    mean, scale = 0.4, 0.1
    upper = np.where(x > 1 - half, 1.0, expit((x + half - mean) / scale))
    lower = np.where(x < half, 0.0, expit((x - half - mean) / scale))
    found = log_prob(jnp.asarray(x), jnp.full(levels, mean), jnp.full(levels, np.log(scale)), levels=levels)
    np.testing.assert_allclose(found, np.log(upper - lower), rtol=1e-4)


def test_far_tails_keep_their_digits():
    found = float(log_prob(jnp.asarray([0.5]), jnp.asarray([60.0]), jnp.asarray([0.0]), levels=17)[0])
    exact = -59.5 + np.log(2 * np.sinh(0.5 / 16))  # both terms of the difference are e^{-59.5…}
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_draws_follow_the_probabilities():
    n, levels = 40_000, 5
    mean, log_scale = jnp.full((n, 1), 0.4), jnp.full((n, 1), -1.5)
    draws = np.asarray(sample(nnx.Rngs(0), mean, log_scale, levels=levels))[:, 0]
    for level in np.linspace(0, 1, levels):
        p = float(jnp.exp(log_prob(jnp.asarray([level]), mean[0], log_scale[0], levels=levels))[0])
        assert abs((np.abs(draws - level) < 1e-6).mean() - p) < 4 * np.sqrt(p * (1 - p) / n)
