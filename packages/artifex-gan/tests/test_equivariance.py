"""Equivariance in dB, of pictures that are known at every place."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from artifex.gan.equivariance import (
    decibels,
    known_after_shift,
    known_after_turn,
    rotation_equivariance,
    shift,
    translation_equivariance,
    weights,
)

SIDE = 32


def waves(*, turn: float = 1.0):
    """A picture of up to four cycles a side, moved as it should be; `turn` −1 turns it the wrong way."""
    rng = np.random.default_rng(0)
    f, phase = rng.uniform(-2.8, 2.8, (2, 12)), rng.uniform(0, 2 * np.pi, 12)
    place = (np.arange(SIDE) + 0.5) / SIDE - 0.5

    def render(by, angle):
        x, y = np.meshgrid(place, place)
        c, s = np.cos(turn * angle), np.sin(turn * angle)
        x, y = c * x - s * y - by[0], s * x + c * y - by[1]
        signal = np.sin(2 * np.pi * (x[..., None] * f[0] + y[..., None] * f[1]) + phase).mean(-1)
        return jnp.asarray(signal[None, :, :, None], jnp.float32)

    return render


def test_decibels_of_a_constant_error():
    one = jnp.zeros((2, 4, 4, 3))
    mask = np.zeros((4, 4))
    mask[1, 2] = 1
    found = decibels([(one, one.at[:, 1, 2].set(0.1), mask)])
    assert found == pytest.approx(10 * np.log10(4 / 0.01), abs=1e-4)


def test_whole_shifts_of_a_signal_are_exact():
    assert translation_equivariance(waves(), [(3.0, -2.0), (-4.0, 1.0)]) > 120  # float32


def test_shifts_between_pixels_are_interpolated():
    assert translation_equivariance(waves(), [(0.5, 0.25), (-2.3, 1.7)]) > 50  # the ripple of six taps


def test_a_signal_that_turns_has_more_than_ninety_decibels():
    assert rotation_equivariance(waves(), [0.4, 2.0, 4.5]) > 90


def test_a_signal_that_turns_the_wrong_way_has_not():
    assert rotation_equivariance(waves(turn=-1.0), [0.4, 2.0, 4.5]) < 30


def test_a_signal_that_stays_has_not():
    still = waves()
    assert translation_equivariance(lambda by, angle: still((0.0, 0.0), 0.0), [(3.0, -2.0)]) < 30


def test_weights_add_up_to_one_within_the_picture():
    np.testing.assert_allclose(weights(jnp.linspace(3, 12, 31), 16).sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("by", [(2.0, -1.0), (2.4, -1.3)])
def test_pixels_of_the_mask_do_not_see_the_border(by):
    x = np.random.default_rng(0).standard_normal((1, 16, 16, 1)).astype(np.float32)
    wide = np.pad(x, ((0, 0), (8, 8), (8, 8), (0, 0)), mode="wrap")
    inner = shift(jnp.asarray(wide), by)[:, 8:-8, 8:-8]
    mask = known_after_shift(16, by)[None, :, :, None] > 0
    assert mask.sum() >= 11 * 11
    np.testing.assert_allclose(np.asarray(shift(jnp.asarray(x), by))[mask], np.asarray(inner)[mask], atol=1e-5)


def test_a_turned_mask_is_the_octagon_that_both_squares_share():
    mask = known_after_turn(64, np.pi / 4)
    limit = 31.5 - 3 * (1 + np.sqrt(2))
    area = 8 * (np.sqrt(2) - 1) * limit**2  # of two squares of half side `limit`, 45° apart
    assert mask.sum() == pytest.approx(area, rel=0.03)  # counted in pixels
