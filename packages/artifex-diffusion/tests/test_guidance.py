"""Guidance against closed forms of Gaussian classes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.diffusion.exact import Mixture
from artifex.diffusion.guidance import Pair, apg, autoguidance, cfg, classifier_guidance, guided
from artifex.diffusion.schedule import VPLinear

SCHEDULE, T = VPLinear(), 0.4
MEANS, VAR = np.array([[-1.0, 0.5], [1.5, 0.0]]), np.array([0.3, 0.8])
BOTH = Mixture(MEANS, VAR).denoiser(SCHEDULE)
ONE = Mixture(MEANS[1:], VAR).denoiser(SCHEDULE)
with jax.enable_x64(True):
    X = jnp.asarray(np.random.default_rng(0).standard_normal((16, 2)))


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def log_class(x, t):
    """log p(y = 1|x_t), in closed form."""
    alpha, sigma = SCHEDULE.alpha(jnp.asarray(t)), SCHEDULE.sigma(jnp.asarray(t))
    joint = jnp.stack([Mixture(MEANS[k : k + 1], VAR).log_prob(x, alpha, sigma) for k in (0, 1)])
    return joint[1] - jax.nn.logsumexp(joint, axis=0)


def test_scale_zero_ignores_the_condition_and_one_is_plain():
    np.testing.assert_allclose(cfg(ONE, BOTH, 0.0)(X, T), BOTH(X, T), atol=1e-12)
    np.testing.assert_allclose(cfg(ONE, BOTH, 1.0)(X, T), ONE(X, T), atol=1e-12)


def test_guidance_between_gaussians_is_the_linear_closed_form():
    """For one Gaussian each, D = m + k (x − α m), and guidance moves the mean: D = m_w + k (x − α m_w)."""
    a, b = (Mixture(MEANS[k : k + 1], VAR).denoiser(SCHEDULE) for k in (0, 1))
    moved = MEANS[:1] + 3.0 * (MEANS[1:] - MEANS[:1])
    np.testing.assert_allclose(cfg(b, a, 3.0)(X, T), Mixture(moved, VAR).denoiser(SCHEDULE)(X, T), atol=1e-10)


@pytest.mark.parametrize("n", [1, 16])
def test_classifier_guidance_is_cfg_where_the_classifier_is_exact(n):
    """At batch 1 and 16: neither the factor σ²/α nor the gradient depends on the batch, or is taken from logits."""
    guide = jax.jit(lambda x, scale: classifier_guidance(BOTH, log_class, scale, SCHEDULE)(x, T))
    for scale in (0.0, 1.0, 2.5):
        np.testing.assert_allclose(guide(X[:n], scale), cfg(ONE, BOTH, scale)(X[:n], T), atol=1e-5)


def test_autoguidance_is_cfg_against_the_weak_model():
    weak = Mixture(MEANS, VAR + 1.0).denoiser(SCHEDULE)
    np.testing.assert_allclose(autoguidance(BOTH, weak, 2.0)(X, T), 2 * BOTH(X, T) - weak(X, T), atol=1e-12)


def test_outside_its_interval_guidance_asks_the_conditional_model_alone():
    calls = []

    def pair(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return Pair(ONE(x, t), BOTH(x, t))

    denoise = guided(ONE, pair, lambda p: p.null, (0.2, 0.6))
    for t, expected in ((0.1, ONE), (0.4, BOTH), (0.9, ONE)):
        np.testing.assert_allclose(denoise(X, jnp.asarray(t)), expected(X, t), atol=1e-12)
    jax.effects_barrier()
    assert len(calls) == 1


def test_rescale_brings_the_deviation_back():
    x0 = cfg(ONE, BOTH, 4.0, rescale=1.0)(X, T)
    np.testing.assert_allclose(np.std(x0, axis=1), np.std(ONE(X, T), axis=1), rtol=1e-9)


def test_channels_leave_the_others_conditional():
    x0 = cfg(ONE, BOTH, 4.0, channels=1)(X, T)
    np.testing.assert_allclose(x0[:, :1], cfg(ONE, BOTH, 4.0)(X, T)[:, :1])
    np.testing.assert_allclose(x0[:, 1:], ONE(X, T)[:, 1:])


def test_projected_guidance_with_its_parallel_part_is_plain_and_without_it_orthogonal():
    np.testing.assert_allclose(apg(ONE, BOTH, 3.0, parallel=1.0)(X, T), cfg(ONE, BOTH, 3.0)(X, T), atol=1e-12)
    x0, plain = apg(ONE, BOTH, 3.0)(X, T), ONE(X, T)
    np.testing.assert_allclose(((x0 - plain) * plain).sum(1), 0, atol=1e-12)
    bounded = apg(ONE, BOTH, 2.0, parallel=1.0, radius=0.1)(X, T)
    assert np.linalg.norm(bounded - plain, axis=1).max() <= 0.1 + 1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cfg(ONE, BOTH, 2.0, interval=(0.5, 0.5)), r"0 <= low < high <= 1, got \(0.5, 0.5\)"),
        (lambda: cfg(ONE, BOTH, 2.0, rescale=1.5), r"expected 'rescale' in \[0, 1\], got 1.5"),
    ],
)
def test_what_does_nothing_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
