"""Predictions are five names of one estimate, and scalings do what they promise."""

from __future__ import annotations

import itertools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.diffusion.prediction import Denoiser, EDMPrecondition, Prediction, convert, log_gain
from artifex.diffusion.schedule import EDM, VE, Cosine, Discrete, RectifiedFlow, SubVP, VPLinear, zero_terminal_snr

KINDS = get_args(Prediction)
SCHEDULES = [VPLinear(), SubVP(), Cosine(), VE(), EDM(), RectifiedFlow(shift=2.0), Discrete(steps=8)]


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def example(schedule, t):
    rng = np.random.default_rng(0)
    x0, eps = rng.standard_normal((2, 3, 5))
    xt = schedule.alpha(t) * x0 + schedule.sigma(t) * eps
    return jnp.asarray(x0), jnp.asarray(eps), jnp.asarray(xt)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_every_pair_of_predictions_converts_there_and_back(schedule):
    for t in (0.125, 0.5, 0.875):
        x0, eps, xt = example(schedule, t)
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        truth = {
            "x0": x0,
            "eps": eps,
            "v": alpha * eps - sigma * x0,
            "velocity": eps - x0,
            "score": -eps / sigma,
        }
        for source, target in itertools.product(KINDS, KINDS):
            found = convert(truth[source], source, target, xt, t, schedule)
            np.testing.assert_allclose(found, truth[target], rtol=1e-6, atol=1e-6)


def test_v_and_velocity_give_x0_at_both_ends():
    for schedule in (Cosine(), RectifiedFlow()):
        x0, eps, _ = example(schedule, 0.5)
        for t, xt in ((0.0, x0), (1.0, eps)):
            np.testing.assert_allclose(convert(eps - x0, "velocity", "x0", xt, t, schedule), x0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_log_gain_is_the_derivative_of_x0(kind):
    schedule, t = SubVP(), 0.4  # α² + σ² ≠ 1
    xt = jnp.ones((1, 1))
    slope = jax.grad(lambda w: convert(w.reshape(1, 1), kind, "x0", xt, t, schedule)[0, 0])(jnp.asarray(0.3))
    gain = log_gain(kind, jnp.asarray(schedule.alpha(t)), jnp.asarray(schedule.sigma(t)))
    np.testing.assert_allclose(jnp.exp(gain), jnp.abs(slope), rtol=1e-9)


def test_edm_scalings_are_those_of_the_paper():
    sigma = np.array([0.01, 0.5, 3.0])
    t = jnp.asarray(EDM().inverse_log_snr(-2 * np.log(sigma)))
    scales = EDMPrecondition(sigma_data=0.5)(t, EDM())
    np.testing.assert_allclose(scales.skip, 0.25 / (sigma**2 + 0.25), rtol=1e-9)
    np.testing.assert_allclose(scales.out, 0.5 * sigma / np.sqrt(sigma**2 + 0.25), rtol=1e-9)
    np.testing.assert_allclose(scales.into, 1 / np.sqrt(sigma**2 + 0.25), rtol=1e-9)
    np.testing.assert_allclose(scales.noise, np.log(sigma) / 4, rtol=1e-9)


@pytest.mark.parametrize("schedule", [EDM(), VPLinear()], ids=repr)
def test_edm_scalings_give_inputs_and_targets_unit_variance(schedule):
    rng = np.random.default_rng(0)
    x0, eps = 0.5 * rng.standard_normal(100_000), rng.standard_normal(100_000)
    t = jnp.asarray(0.4)
    xt = schedule.alpha(0.4) * x0 + schedule.sigma(0.4) * eps
    c = EDMPrecondition(sigma_data=0.5)(t, schedule)
    for values in (float(c.into) * xt, (x0 - float(c.skip) * xt) / float(c.out)):
        assert abs(values.std() - 1) < 4 / np.sqrt(2 * 100_000)  # 4 standard errors of a deviation


def test_the_network_sees_scaled_data_and_the_step_index():
    seen = {}

    def network(xt, c, y=None):
        seen.update(xt=xt, c=c, y=y)
        return xt

    schedule = Discrete(steps=10)
    xt = jnp.ones((2, 3))
    Denoiser(network, schedule, "eps")(xt, 0.3, jnp.asarray([1, 2]))
    np.testing.assert_array_equal(seen["c"], [2, 2])  # t = 0.3 is the third step, whose index is 2
    np.testing.assert_array_equal(seen["y"], [1, 2])


def test_a_network_in_bfloat16_still_tells_a_thousand_steps_apart():
    seen = []
    schedule, xt = Discrete(), jnp.ones((1, 3), jnp.bfloat16)
    denoiser = Denoiser(lambda xt, c, y=None: (seen.append(float(c[0])), xt)[1], schedule, "eps")
    assert denoiser(xt, 0.5).dtype == denoiser(xt, 0.501).dtype == jnp.bfloat16
    assert seen == [499, 500]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Denoiser(None, VPLinear(), "epsilon"), "expected 'prediction' among .*got 'epsilon'"),
        (lambda: Denoiser(None, VPLinear(), "velocty"), "Did you mean 'velocity'"),
        (lambda: Denoiser(None, zero_terminal_snr(Discrete()), "eps"), "signal ends at 0. Predict 'v'"),
        (lambda: Denoiser(None, RectifiedFlow(), "score"), "no signal is left, got 'score'"),
        (
            lambda: Denoiser(lambda x, c, y=None: jnp.tile(x, 2), VPLinear(), "eps")(jnp.ones((2, 3)), 0.5),
            r"expected a network output of shape \(2, 3\), got \(2, 6\)",
        ),
    ],
)
def test_bad_denoisers_name_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()
