import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from artifex.core.prob import discretised_logistic


def table(mean, log_scale, levels, low, high):
    """log P of every level."""
    x = jnp.linspace(low, high, levels)
    full = lambda value: jnp.full(levels, value, jnp.float32)  # noqa: E731
    return discretised_logistic.log_prob(x, full(mean), full(log_scale), levels=levels, low=low, high=high)


@pytest.mark.parametrize(("levels", "low", "high"), [(2, 0.0, 1.0), (17, 0.0, 1.0), (256, -1.0, 1.0)])
@settings(deadline=None, max_examples=30)
@given(mean=st.floats(-3, 3), log_scale=st.floats(-6, 3))
def test_the_levels_add_up_to_one(levels, low, high, mean, log_scale):
    log_p = np.asarray(table(mean, log_scale, levels, low, high), np.float64)
    # One part in 10^6 is what float32 leaves of the sum; narrower scales are tested against scipy below.
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-6 if log_scale > -3 else 2e-5)


@pytest.mark.parametrize("log_scale", [-4.0, -1.0, 1.0])
def test_bins_are_differences_of_the_logistic_distribution(log_scale):
    levels, mean = 11, 0.37
    edges = np.concatenate([[-np.inf], (np.arange(10) + 0.5) / 10, [np.inf]])
    logistic = stats.logistic(mean, np.exp(log_scale))
    # On the far side of the mean the survival function has the digits.
    expected = np.where(edges[:-1] < mean, np.diff(logistic.cdf(edges)), -np.diff(logistic.sf(edges)))
    assert np.allclose(table(mean, log_scale, levels, 0.0, 1.0), np.log(expected), rtol=2e-4, atol=2e-5)


def test_bins_far_from_a_narrow_mean_are_finite_with_finite_gradients():
    x = jnp.linspace(0, 1, 256)
    loss = lambda m, s: discretised_logistic.log_prob(x, m + 0 * x, s + 0 * x, levels=256).sum()  # noqa: E731
    value, gradients = jax.value_and_grad(loss, (0, 1))(0.0, -7.0)
    a = (x - 0.5 / 255) * np.exp(7.0)
    assert float(value) == pytest.approx(-float(jnp.where(x > 0, a, 0).sum()), rel=1e-2)
    assert all(abs(float(g)) > 1 for g in gradients)
    assert all(np.isfinite(g) for g in gradients)


def test_samples_follow_the_table():
    n, levels = 40_000, 9
    mean, log_scale = jnp.full((n, 1), 0.8), jnp.full((n, 1), -1.5)
    drawn = np.asarray(discretised_logistic.sample(nnx.Rngs(0), mean, log_scale, levels=levels))
    counts = np.bincount(np.rint(drawn[:, 0] * 8).astype(int), minlength=levels)
    expected = np.exp(np.asarray(table(0.8, -1.5, levels, 0.0, 1.0), np.float64))
    assert stats.chisquare(counts, n * expected / expected.sum()).pvalue > 1e-3
    assert np.abs(drawn * 8 - np.rint(drawn * 8)).max() < 1e-6


def test_samples_are_levels_of_another_range():
    mean, log_scale = jnp.zeros((500, 1)), jnp.zeros((500, 1))
    drawn = discretised_logistic.sample(nnx.Rngs(0), mean, log_scale, levels=3, low=-1.0, high=1.0)
    assert sorted(set(np.asarray(drawn)[:, 0].tolist())) == [-1.0, 0.0, 1.0]
