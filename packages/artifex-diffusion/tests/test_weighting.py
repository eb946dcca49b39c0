"""Losses at their minimum, weights against their formulas, times against their distributions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.diffusion.exact import Mixture
from artifex.diffusion.prediction import Denoiser, EDMPrecondition, convert
from artifex.diffusion.schedule import EDM, VE, Cosine, Discrete, RectifiedFlow, SubVP, VPLinear
from artifex.diffusion.weighting import (
    EDMWeight,
    LikelihoodWeight,
    LogitNormalTimes,
    LogNormalTimes,
    MinSNRWeight,
    PlainWeight,
    SigmoidWeight,
    StratifiedTimes,
    UniformTimes,
    corrupt,
    denoising_loss,
    weighted_loss,
)

DATA = Mixture(np.array([[-1.0, 0.5], [1.5, 0.0]]), np.array([0.3, 0.8]))
WEIGHTS = [PlainWeight(), PlainWeight(of="x0"), MinSNRWeight(), EDMWeight(), SigmoidWeight(), LikelihoodWeight()]
N = 20_000


def perfect(schedule, prediction, shift=0.0, scale=0.0):
    """A denoiser whose estimate is the exact one plus a disturbance."""

    def network(xt, c, y=None, *, rngs=None):
        t = c / 1000
        x0 = DATA.denoiser(schedule)(xt, t)
        return convert(x0 + shift + scale * xt, "x0", prediction, xt, t, schedule)

    return Denoiser(network, schedule, prediction)


def draws(n):
    rng = np.random.default_rng(0)
    return jnp.asarray(DATA.means[rng.integers(2, size=n)] + np.sqrt(DATA.variance) * rng.standard_normal((n, 2)))


@pytest.mark.parametrize("prediction", ["eps", pytest.param("velocity", marks=pytest.mark.slow)])
def test_the_exact_denoiser_minimises_every_loss(prediction):
    """At it, the gradient in any direction is 0 within Monte Carlo error; a wrong λ or sign leaves a slope."""
    with jax.enable_x64(True):
        x0 = draws(N)

        def row_losses(shift, scale, key):
            denoiser = perfect(VPLinear(), prediction, shift, scale)
            outputs = corrupt(denoiser, x0, UniformTimes(t_min=0.05), nnx.Rngs(key))

            def one(outputs):
                row = jax.tree.map(lambda a: a[None], outputs)
                return jnp.stack([weighted_loss(denoiser, row, weight, {})["loss"] for weight in WEIGHTS])

            return jax.vmap(one)(outputs)

        key = jax.random.key(1)
        losses = jax.jit(row_losses)
        for slope in jax.jit(jax.jacfwd(row_losses, argnums=(0, 1)))(0.0, 0.0, key):
            assert np.all(np.abs(slope.mean(0)) < 4 * slope.std(0) / np.sqrt(N))
        assert np.all(losses(0.3, 0.1, key).mean(0) > losses(0.0, 0.0, key).mean(0))


@pytest.mark.parametrize("prediction", ["x0", "eps", "v", "velocity", "score"])
def test_a_weight_means_the_same_whatever_is_predicted(prediction):
    """The same disturbance of x₀ costs the same, at every time."""
    with jax.enable_x64(True):
        x0 = draws(64)
        losses = []
        for kind in (prediction, "x0"):
            denoiser = perfect(SubVP(), kind, 0.2, 0.1)
            options = {"times": UniformTimes(), "weight": MinSNRWeight(), "rngs": nnx.Rngs(0)}
            losses.append(denoising_loss(denoiser, x0, **options)["loss"])
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)


def test_weights_are_their_formulas():
    t = jnp.linspace(0.1, 0.9, 9)
    schedule = VPLinear()
    snr = np.asarray(schedule.alpha(t) ** 2 / schedule.sigma(t) ** 2, float)
    hat = 1 / np.sqrt(snr)
    expected = {
        PlainWeight(): snr,
        PlainWeight(of="x0"): np.ones(9),
        MinSNRWeight(gamma=2.0): np.minimum(snr, 2),
        EDMWeight(sigma_data=0.7): (hat**2 + 0.49) / (hat * 0.7) ** 2,
        SigmoidWeight(bias=1.0): snr / (1 + np.exp(np.log(snr) - 1)),
    }
    for weight, values in expected.items():
        np.testing.assert_allclose(np.exp(weight.log_weight(t, schedule)), values, rtol=2e-5)  # float32 logarithms


@pytest.mark.parametrize("schedule", [VPLinear(), SubVP(), Cosine(), VE(), EDM()], ids=lambda s: s.tag)
def test_likelihood_weight_is_half_the_fall_of_the_snr(schedule):
    with jax.enable_x64(True):
        t = jnp.linspace(0.1, 0.9, 9)
        fall = jax.vmap(jax.grad(lambda t: -0.5 * jnp.exp(schedule.log_snr(t))))(t)
        np.testing.assert_allclose(jnp.exp(LikelihoodWeight().log_weight(t, schedule)), fall, rtol=1e-9)


def test_edm_weight_is_one_over_c_out_squared():
    t = jnp.linspace(0.1, 0.9, 9)
    scales = EDMPrecondition(sigma_data=0.5)(t, EDM())
    np.testing.assert_allclose(jnp.exp(EDMWeight(sigma_data=0.5).log_weight(t, EDM())), scales.out**-2, rtol=1e-4)


def test_the_last_times_of_a_vanishing_signal_are_finite():
    """ε at α ≈ 6e-17 of the cosine schedule: S · (∂x₀/∂ε)² is 1, and never 0 · ∞."""
    denoiser = Denoiser(lambda xt, c, y=None: 0 * xt, Discrete(rule="cosine"), "eps")
    x0 = jnp.ones((8, 2))
    late = lambda rngs, n, schedule: jnp.ones(n)  # noqa: E731
    losses = denoising_loss(denoiser, x0, times=late, weight=PlainWeight(), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(losses["loss"], losses["error"], rtol=1e-5)


@pytest.mark.parametrize(
    ("times", "schedule", "mean", "std"),
    [
        (UniformTimes(t_min=0.2), VPLinear(), 0.6, 0.8 / np.sqrt(12)),
        (StratifiedTimes(t_min=0.0), VPLinear(), 0.5, 1 / np.sqrt(12)),
        (LogitNormalTimes(), RectifiedFlow(), 0.5, 0.2083),  # √Var of a logistic of N(0, 1), by quadrature
    ],
    ids=["uniform", "stratified", "logit_normal"],
)
def test_times_have_their_moments(times, schedule, mean, std):
    t = np.asarray(times(nnx.Rngs(0), N, schedule), float)
    assert abs(t.mean() - mean) < 4 * std / np.sqrt(N)
    assert abs(t.std() - std) < 4 * std / np.sqrt(N)


def test_log_normal_times_give_log_normal_noise():
    log_sigma = np.log(np.asarray(EDM().sigma(LogNormalTimes()(nnx.Rngs(0), N, EDM())), float))
    assert abs(log_sigma.mean() + 1.2) < 4 * 1.2 / np.sqrt(N)
    assert abs(log_sigma.std() - 1.2) < 4 * 1.2 / np.sqrt(N)


def test_discrete_times_are_the_steps_with_equal_chances():
    t = np.asarray(UniformTimes()(nnx.Rngs(0), N, Discrete(steps=8)))
    steps, counts = np.unique(np.round(t * 8).astype(int), return_counts=True)
    np.testing.assert_array_equal(steps, np.arange(1, 9))
    assert np.abs(counts - N / 8).max() < 4 * np.sqrt(N / 8)


def test_stratified_times_vary_less_than_their_number_would_allow():
    sums = [float(StratifiedTimes()(nnx.Rngs(seed), 64, VPLinear()).mean()) for seed in range(20)]
    # 1/(n √12) in place of 1/√(12 n): an eighth for n = 64.
    assert np.std(sums) < 1.5 * (1 / np.sqrt(12)) / 64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MinSNRWeight(gamma=0.0), "expected 'gamma' > 0, got 0.0"),
        (lambda: EDMWeight(sigma_data=-1.0), "expected 'sigma_data' > 0, got -1.0"),
    ],
)
def test_bad_weights_name_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()
