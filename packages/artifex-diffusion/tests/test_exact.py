"""The closed forms that everything else is measured on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.diffusion.exact import Mixture
from artifex.diffusion.schedule import VPLinear

DATA = Mixture(np.array([[-1.0], [0.4], [2.0]]), np.array([0.09]))


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_estimate_is_the_posterior_mean_by_quadrature(t):
    alpha, sigma = VPLinear().alpha(t), VPLinear().sigma(t)
    x0 = np.linspace(-6, 6, 20_001)
    prior = np.exp(-0.5 * (x0[:, None] - DATA.means[:, 0]) ** 2 / 0.09).sum(1)
    for xt in (-1.5, 0.0, 0.8):
        q = prior * np.exp(-0.5 * (xt - alpha * x0) ** 2 / sigma**2)
        found = DATA.denoise(jnp.array([[xt]]), alpha, sigma)
        np.testing.assert_allclose(found, [[(q * x0).sum() / q.sum()]], atol=1e-9)


def test_density_integrates_to_one_and_its_slope_is_the_score():
    alpha, sigma = 0.6, 0.5
    x = jnp.linspace(-10, 10, 20_001)[:, None]
    density = jnp.exp(DATA.log_prob(x, alpha, sigma))
    np.testing.assert_allclose(density.sum() * (x[1, 0] - x[0, 0]), 1, rtol=1e-9)
    some = x[8_000:12_000:500]
    slope = jax.grad(lambda x: DATA.log_prob(x, alpha, sigma).sum())(some)
    np.testing.assert_allclose(slope, (alpha * DATA.denoise(some, alpha, sigma) - some) / sigma**2, rtol=1e-9)


def test_times_may_differ_from_row_to_row():
    denoise = DATA.denoiser(VPLinear())
    x, t = jnp.array([[0.3], [0.3]]), jnp.array([0.2, 0.7])
    np.testing.assert_allclose(denoise(x, t), [denoise(x, t[i])[i] for i in range(2)], rtol=1e-12)
