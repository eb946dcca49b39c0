"""Likelihoods of the flow against Gaussians and mixtures."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.diffusion.exact import Mixture
from artifex.diffusion.likelihood import log_prob
from artifex.diffusion.schedule import EDM, Discrete, RectifiedFlow, VPLinear

MU, VAR = np.linspace(-1.5, 1.5, 6), np.linspace(0.05, 1.2, 6)
GAUSSIAN = Mixture(MU[None], VAR)
X = MU + np.sqrt(VAR) * np.random.RandomState(3).randn(8, 6)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@functools.partial(jax.jit, static_argnames=("schedule", "steps", "exact_prior", "divergence"))
def found(x, key, *, schedule, steps, exact_prior, divergence="exact"):
    alpha, sigma = float(schedule.alpha(1.0)), float(schedule.sigma(1.0))
    prior = (lambda xt: GAUSSIAN.log_prob(xt, alpha, sigma)) if exact_prior else None
    rngs = nnx.Rngs(key) if divergence == "hutchinson" else None
    return log_prob(
        GAUSSIAN.denoiser(schedule), x, schedule, prior=prior, steps=steps, divergence=divergence, rngs=rngs
    )


def truth(schedule, t):
    """The density of the data with the noise of the first level, which the flow begins with."""
    return GAUSSIAN.log_prob(jnp.asarray(X), 1.0, float(schedule.sigma(t) / schedule.alpha(t)))


def test_flow_likelihood_of_a_gaussian_with_its_true_end():
    schedule = EDM(sigma_min=1e-3)
    value = found(X, jax.random.key(0), schedule=schedule, steps=100, exact_prior=True)
    assert np.abs(value - truth(schedule, 0.0)).max() < 1e-4
    # A normal end of N(0, σ²) is wrong by what the data add to it: the reason why the prior is an argument.
    plain = found(X, jax.random.key(0), schedule=schedule, steps=100, exact_prior=False)
    assert 0.01 < np.abs(plain - truth(schedule, 0.0)).max() < 0.1


@pytest.mark.parametrize("schedule", [VPLinear(), RectifiedFlow(), RectifiedFlow(shift=3.0)], ids=repr)
def test_flow_likelihood_on_other_schedules(schedule):
    value = found(X, jax.random.key(0), schedule=schedule, steps=100, exact_prior=False)
    # VP leaves α = 6.6e-3 of the data in the end and a flow at t = 0.999 1e-3, which costs about α |μ| |ε| d nats.
    assert np.abs(value - truth(schedule, 1e-3)).max() < (0.06 if isinstance(schedule, VPLinear) else 0.01)


def test_error_falls_with_the_fourth_power_of_the_step():
    schedule = EDM(sigma_min=1e-2)
    run = functools.partial(found, X, jax.random.key(0), schedule=schedule, exact_prior=True)
    errors = [np.abs(run(steps=n) - truth(schedule, 0.0)).max() for n in (50, 100)]
    assert 3.3 < np.log2(errors[0] / errors[1]) < 4.7


def test_hutchinson_is_the_exact_divergence_on_average():
    """On a mixture, whose Jacobian is no diagonal, within 3 standard errors."""
    mixture = Mixture(np.array([[-1.0, 0.5], [1.5, 0.0], [0.0, -1.0]]), np.array([0.1, 0.2]))
    x = jnp.asarray(mixture.means[:2] + 0.2)
    schedule = VPLinear()

    @jax.jit
    def estimate(key):
        return log_prob(mixture.denoiser(schedule), x, schedule, divergence="hutchinson", steps=20, rngs=nnx.Rngs(key))

    exact = jax.jit(lambda x: log_prob(mixture.denoiser(schedule), x, schedule, steps=20))(x)
    draws = np.asarray(jax.vmap(estimate)(jax.random.split(jax.random.key(1), 400)))
    # In two dimensions vᵀ A v takes two values, tr A ± (a₁₂ + a₂₁): their middle is exact.
    np.testing.assert_allclose(0.5 * (draws.min(0) + draws.max(0)), exact, atol=1e-9)
    assert np.all(np.abs(draws.mean(0) - exact) < 3 * draws.std(0) / np.sqrt(400) + 1e-9)


def test_a_mixture_has_its_density():
    mixture = Mixture(
        2 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], -1), np.full(2, 0.04)
    )
    x = jnp.asarray(mixture.means + 0.1)
    schedule = EDM(sigma_min=0.01)
    value = jax.jit(lambda x: log_prob(mixture.denoiser(schedule), x, schedule, steps=200))(x)
    np.testing.assert_allclose(value, mixture.log_prob(x, 1.0, 0.01), atol=5e-3)  # the end at σ = 80 costs 2/80²·…


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: log_prob(None, jnp.ones((1, 2)), VPLinear(), divergence="hutchinson"), "'hutchinson' with 'rngs'"),
        (lambda: log_prob(None, jnp.ones((1, 2)), Discrete()), "on one of its 1000 steps"),
        (lambda: log_prob(None, jnp.ones((1, 2)), VPLinear(), steps=0), "expected 'steps' of at least 1, got 0"),
    ],
)
def test_what_cannot_be_integrated_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
