"""Schedules against autodiff, their inverses, and the published tables."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.diffusion.schedule import (
    EDM,
    VE,
    Cosine,
    Discrete,
    RectifiedFlow,
    SubVP,
    VPLinear,
    zero_terminal_snr,
)

CONTINUOUS = [VPLinear(), SubVP(), Cosine(), VE(), EDM(), RectifiedFlow(), RectifiedFlow(shift=3.0)]
VP = [VPLinear(), Cosine(), Discrete(), Discrete(rule="cosine"), Discrete(rule="scaled_linear", steps=50)]
T = np.linspace(0.02, 0.98, 49)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("schedule", VP, ids=repr)
def test_variance_is_preserved(schedule):
    t = np.arange(schedule.n_steps + 1) / schedule.n_steps if schedule.n_steps else T
    np.testing.assert_allclose(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, 1, rtol=1e-12)


@pytest.mark.parametrize("schedule", CONTINUOUS, ids=repr)
def test_log_snr_falls_and_its_inverse_undoes_it(schedule):
    log_snr = schedule.log_snr(T)
    assert np.all(np.diff(log_snr) < 0)
    # 1e-9: the flattest schedule has d log SNR/dt ≈ 2, and log SNR itself carries 1e-14
    np.testing.assert_allclose(schedule.inverse_log_snr(log_snr), T, atol=1e-9)


@pytest.mark.parametrize("schedule", CONTINUOUS, ids=repr)
def test_drift_and_diffusion_are_those_of_alpha_and_sigma(schedule):
    t = jnp.asarray(T)
    alpha, d_alpha = jax.jvp(schedule.alpha, (t,), (jnp.ones_like(t),))
    sigma, d_sigma = jax.jvp(schedule.sigma, (t,), (jnp.ones_like(t),))
    drift = d_alpha / alpha
    np.testing.assert_allclose(schedule.drift(t), drift, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(schedule.diffusion(t) ** 2, 2 * sigma * d_sigma - 2 * drift * sigma**2, rtol=1e-9)


@pytest.mark.parametrize("schedule", [*CONTINUOUS, Discrete()], ids=repr)
def test_traced_values_are_those_of_the_host(schedule):
    t = T if schedule.n_steps is None else np.arange(1, 1000, 37) / 1000
    for function in (schedule.alpha, schedule.sigma, schedule.log_snr, schedule.drift, schedule.condition):
        np.testing.assert_allclose(jax.jit(function)(jnp.asarray(t)), function(t), rtol=1e-10)


def test_sigma_keeps_its_digits_near_the_data():
    # σ² = β₀ t + O(t²) of VP, where 1 − α² would leave nothing in float32
    t = jnp.float32(1e-7)
    np.testing.assert_allclose(VPLinear().sigma(t), np.sqrt(0.1 * 1e-7), rtol=1e-4)
    np.testing.assert_allclose(Cosine(s=0.0).sigma(jnp.float32(1e-7)), 0.5 * np.pi * 1e-7, rtol=1e-5)  # sin(π t/2)
    table = Discrete().table("sigma")[1]
    np.testing.assert_allclose(jax.jit(Discrete().sigma)(jnp.float32(1e-3)), table, rtol=1e-6)


def test_discrete_linear_schedule_is_the_cumulative_product_of_the_paper():
    betas = np.linspace(1e-4, 0.02, 1000)
    schedule = Discrete()
    np.testing.assert_allclose(schedule.alpha(np.arange(1, 1001) / 1000) ** 2, np.cumprod(1 - betas), rtol=1e-12)
    assert schedule.alpha(0.0) == 1
    np.testing.assert_array_equal(np.round(schedule.condition(np.arange(1, 1001) / 1000)), np.arange(1000))


def test_cosine_betas_end_at_the_clip():
    betas = Discrete(rule="cosine").table("beta")
    assert betas[-1] == 0.999
    assert np.all(np.diff(betas[1:]) >= -1e-15)


def test_zero_terminal_snr_keeps_the_first_step_and_ends_at_noise():
    plain, fixed = Discrete(), zero_terminal_snr(Discrete())
    assert fixed.alpha(1.0) == 0
    np.testing.assert_allclose(fixed.alpha(1 / 1000), plain.alpha(1 / 1000), rtol=1e-12)
    # Lin et al. 2023, algorithm 1: √ᾱ is shifted and scaled linearly
    ratio = np.diff(fixed.table("alpha")[1:]) / np.diff(plain.table("alpha")[1:])
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


def test_shift_moves_time_and_not_the_path():
    shifted, plain = RectifiedFlow(shift=3.0), RectifiedFlow()
    np.testing.assert_allclose(shifted.alpha(T) + shifted.sigma(T), 1, rtol=1e-14)
    np.testing.assert_allclose(shifted.sigma(T), plain.sigma(3 * T / (1 + 2 * T)), rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Discrete(betas=(0.1, 1.2, 0.3)), r"inside \(0, 1\), got betas\[1\] = 1.2"),
        (lambda: Discrete(steps=0), "at least one of 'betas'.* got none"),
        (lambda: Discrete(rule="linaer"), "Did you mean 'linear'"),
        (lambda: VE(sigma_min=2.0, sigma_max=1.0), "expected 0 < 'sigma_min' < 'sigma_max', got 2.0 and 1.0"),
        (lambda: VPLinear(beta_min=-1.0), "expected 0 < 'beta_min' <= 'beta_max', got -1.0"),
        (lambda: RectifiedFlow(shift=0.0), "expected 'shift' > 0, got 0.0"),
    ],
)
def test_bad_schedules_name_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_discrete_schedule_is_not_queried_between_its_steps():
    with pytest.raises(ValueError, match=r"on one of its 1000 steps, got t = 0.00051.*between two"):
        Discrete().alpha(0.00051)
    with pytest.raises(ValueError, match=r"1000 steps, got log SNR.*VPLinear"):
        Discrete().inverse_log_snr(0.123)
