"""Likelihoods sum or integrate to 1, and their means are those of their draws."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.data.spec import DataSpec
from artifex.vae.likelihood import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    GaussianLikelihood,
    SigmaGaussian,
    soft_clip,
)

DISCRETE = [
    (Bernoulli(), np.array([0.0, 1.0])),
    (Categorical(levels=5), np.linspace(0, 1, 5)),
    (DiscretisedLogistic(levels=17), np.linspace(0, 1, 17)),
    (DiscretisedLogistic(levels=256, low=-1.0), np.linspace(-1, 1, 256)),
]
CONTINUOUS = [GaussianLikelihood(), GaussianLikelihood(std=0.3), SigmaGaussian()]


def params_of(likelihood, n: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(2 * np.random.default_rng(seed).standard_normal((n, 1, likelihood.width)), jnp.float32)


@pytest.mark.parametrize(("likelihood", "values"), DISCRETE)
def test_probabilities_of_all_levels_sum_to_one(likelihood, values):
    params = params_of(likelihood, 20)
    total = sum(np.exp(np.asarray(likelihood.log_prob(params, jnp.full((20, 1), v)), float)) for v in values)
    # float32 logistic bins of 256 levels: rounding of (x ± δ − μ)/s, 256 terms
    np.testing.assert_allclose(total, 1, atol=1e-6 if len(values) < 100 else 5e-5)


@pytest.mark.parametrize("likelihood", CONTINUOUS)
def test_densities_integrate_to_one(likelihood):
    grid = np.linspace(-60, 60, 400_001)
    for params in params_of(likelihood, 3):
        x = jnp.asarray(grid[:, None], jnp.float32)
        log_p = likelihood.log_prob(jnp.broadcast_to(params, (len(grid), *params.shape)), x)
        assert abs(np.exp(np.asarray(log_p, float)).sum() * (grid[1] - grid[0]) - 1) < 1e-4  # float32 grid


@pytest.mark.parametrize("likelihood", [d for d, _ in DISCRETE[:2]] + CONTINUOUS)
def test_mean_is_the_mean_of_draws(likelihood):
    params = jnp.broadcast_to(params_of(likelihood, 1), (20_000, 1, likelihood.width))
    draws = np.asarray(likelihood.sample(params, nnx.Rngs(0)))
    error = draws.std() / np.sqrt(len(draws))
    assert abs(draws.mean() - float(likelihood.mean(params)[0, 0])) < 4 * error


def test_discretised_logistic_draws_follow_its_probabilities():
    likelihood = DiscretisedLogistic(levels=5)
    params = jnp.broadcast_to(jnp.asarray([[0.1, 1.0]]), (40_000, 1, 2))
    draws = np.asarray(likelihood.sample(params, nnx.Rngs(0)))[:, 0]
    for level in np.linspace(0, 1, 5):
        p = float(np.exp(likelihood.log_prob(params[:1], jnp.full((1, 1), level)))[0])
        assert abs((np.abs(draws - level) < 1e-6).mean() - p) < 4 * np.sqrt(p * (1 - p) / 40_000)


def test_log_likelihood_is_a_sum_over_entries():
    params, x = jnp.zeros((1, 6, 1)), jnp.ones((1, 6))
    np.testing.assert_allclose(Bernoulli().log_prob(params, x), [6 * np.log(0.5)], rtol=1e-6)


def test_soft_clip_is_the_identity_above_and_the_bound_below():
    np.testing.assert_allclose(soft_clip(jnp.asarray([5.0, -100.0])), [5.0, -6.0], atol=1e-4)


@pytest.mark.parametrize(
    ("likelihood", "spec", "message"),
    [
        (Bernoulli(), DataSpec(shape=(2,), low=0.0, high=255.0), r"got \[0.0, 255.0\]"),
        (DiscretisedLogistic(), DataSpec(shape=(2,), low=0.0, high=1.0, levels=17), "256 levels .* got 17"),
        (Categorical(levels=4), DataSpec(shape=(2,)), "4 levels"),
    ],
)
def test_data_that_the_density_does_not_cover_are_refused(likelihood, spec, message):
    with pytest.raises(ValueError, match=message):
        likelihood.check(spec)
