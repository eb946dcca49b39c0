"""The bound of DDPM against quadrature, and the mass of bins."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from artifex.diffusion.bound import Levels, bound_term, gaussian_kl, log_level, prior_kl, step_tables
from artifex.diffusion.schedule import Discrete

FEW = Discrete(steps=6, beta_start=0.05, beta_end=0.6)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def test_posterior_is_bayes_rule_on_a_grid():
    """q(x_{i−1}|x_i, x₀) ∝ q(x_i|x_{i−1}) q(x_{i−1}|x₀), moments by quadrature."""
    tables, x0, xt = step_tables(FEW), 0.7, -0.4
    grid = np.linspace(-8, 8, 40_001)
    for i in range(2, 7):
        beta = FEW.table("beta")[i]
        alpha, sigma = FEW.table("alpha")[i - 1], FEW.table("sigma")[i - 1]
        log_q = -0.5 * (xt - np.sqrt(1 - beta) * grid) ** 2 / beta - 0.5 * (grid - alpha * x0) ** 2 / sigma**2
        q = np.exp(log_q - log_q.max())
        q /= q.sum()
        mean = (q * grid).sum()
        np.testing.assert_allclose(tables.of_x[i - 1] * xt + tables.of_x0[i - 1] * x0, mean, atol=1e-8)
        np.testing.assert_allclose(np.exp(tables.log_small[i - 1]), (q * (grid - mean) ** 2).sum(), atol=1e-8)
        np.testing.assert_allclose(np.exp(tables.log_large[i - 1]), beta, rtol=1e-12)


def test_kl_of_gaussians_is_its_integral():
    m1, v1, m2, v2 = 0.3, 0.5, -0.2, 1.4
    x = np.linspace(-12, 12, 200_001)
    p, q = stats.norm(m1, np.sqrt(v1)), stats.norm(m2, np.sqrt(v2))
    integral = (p.pdf(x) * (p.logpdf(x) - q.logpdf(x))).sum() * (x[1] - x[0])
    found = gaussian_kl(jnp.array([[m1]]), jnp.log(v1), jnp.array([[m2]]), jnp.log(v2))
    np.testing.assert_allclose(found, [[integral]], atol=1e-9)


def test_the_bound_is_the_sum_of_kls_by_quadrature():
    """In one dimension, with an imperfect model: every term's expectation over x_i by Gauss-Hermite."""
    x0 = jnp.array([[0.6]])
    tables, nodes = step_tables(FEW), np.polynomial.hermite_e.hermegauss(60)
    eps, w = jnp.asarray(nodes[0]), nodes[1] / nodes[1].sum()
    total = float(prior_kl(x0, FEW)[0])
    expected = 0.5 * (FEW.table("alpha")[6] ** 2 * 0.36 + FEW.table("sigma")[6] ** 2 - 1) - np.log(
        FEW.table("sigma")[6]
    )
    np.testing.assert_allclose(total, expected, rtol=1e-10)
    for i in range(6, 0, -1):
        xt = FEW.table("alpha")[i] * 0.6 + FEW.table("sigma")[i] * eps
        mean = (tables.of_x[i - 1] * xt + tables.of_x0[i - 1] * 0.4)[:, None]  # the model says x₀ = 0.4
        log_var = jnp.asarray(tables.log_large[i - 1])
        index = jnp.full(60, i - 1)
        found = bound_term(jnp.full((60, 1), 0.6), xt[:, None], mean, log_var, (index, tables, None))
        total += float(found[:, 0] @ w)
        if i == 1:
            expected -= float(stats.norm(mean[:, 0], np.exp(0.5 * float(log_var))).logpdf(0.6) @ w)
        else:
            gap = tables.of_x0[i - 1] * 0.2
            v1, v2 = np.exp(tables.log_small[i - 1]), np.exp(tables.log_large[i - 1])
            expected += 0.5 * (np.log(v2 / v1) + (v1 + gap**2) / v2 - 1)
    np.testing.assert_allclose(total, expected, atol=1e-4)


@pytest.mark.parametrize("std", [1e-3, 0.01, 0.3, 5.0])
@pytest.mark.parametrize("mean", [-1.3, 0.0, 0.42])
def test_masses_of_all_levels_sum_to_one(mean, std):
    levels = jnp.linspace(-1, 1, 17)[:, None]
    log_p = log_level(levels, jnp.full_like(levels, mean), jnp.log(std) + 0 * levels, Levels(17))
    np.testing.assert_allclose(np.exp(log_p).sum(), 1, atol=1e-6)
    assert np.isfinite(log_p).all()


def test_mass_of_a_level_is_the_normal_probability_of_its_bin():
    x, mean, std = jnp.array([[0.25]]), 0.1, 0.2
    found = log_level(x, jnp.array([[mean]]), jnp.log(jnp.array([[std]])), Levels(17))
    normal = stats.norm(mean, std)
    np.testing.assert_allclose(np.exp(found), normal.cdf(0.25 + 1 / 16) - normal.cdf(0.25 - 1 / 16), rtol=1e-7)
