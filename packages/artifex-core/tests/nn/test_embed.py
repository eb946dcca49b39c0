"""Embeddings against their formulas."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from artifex.core.nn.embed import fourier, grid_positions, sinusoidal

T = jnp.array([0.0, 1.0, 999.0])


def test_sines_have_periods_from_one_turn_to_ten_thousand():
    e = np.asarray(sinusoidal(T, 8))
    frequency = 10_000.0 ** (-np.arange(4) / 4)
    expected = np.concatenate([np.sin(999 * frequency), np.cos(999 * frequency)])
    np.testing.assert_allclose(e[2], expected, atol=5e-5)  # 999 radians in float32 are known to 3e-5
    np.testing.assert_array_equal(e[0], [0] * 4 + [1] * 4)


def test_the_last_frequency_is_one_over_the_period_where_the_end_is_included():
    e = np.asarray(sinusoidal(T, 8, endpoint=True))
    np.testing.assert_allclose(e[2, 3], np.sin(999 / 10_000), rtol=1e-5)


def test_cosines_may_come_first():
    e, swapped = (np.asarray(sinusoidal(T, 8, cosine_first=first)) for first in (False, True))
    np.testing.assert_array_equal(np.roll(e, 4, axis=1), swapped)


def test_integers_embed_as_the_numbers_that_they_are():
    np.testing.assert_array_equal(sinusoidal(jnp.array([999], jnp.int32), 8), sinusoidal(T[2:], 8))


def test_products_of_fourier_features_approach_the_gaussian_kernel():
    # E[cos 2π f (s − t)] = exp(−2 (π scale (s − t))²); 20,000 draws leave a deviation of 0.005.
    t = jnp.array([0.0, 0.1, 0.3])
    e = np.asarray(fourier(t, 40_000, scale=1.0), float)
    kernel = np.exp(-2 * (np.pi * (t[:, None] - t[None])) ** 2)
    np.testing.assert_allclose(e @ e.T / 20_000, kernel, atol=0.02)


def test_fourier_features_are_the_same_in_every_run():
    np.testing.assert_array_equal(fourier(T, 6), fourier(T, 6))
    assert not np.array_equal(fourier(T, 6), fourier(T, 6, seed=1))


def test_places_embed_their_column_and_then_their_row():
    e = grid_positions(2, 3, 8).reshape(2, 3, 8)
    frequency = 10_000.0 ** (-np.arange(2) / 2)
    place = [np.sin(2 * frequency), np.cos(2 * frequency), np.sin(1 * frequency), np.cos(1 * frequency)]
    np.testing.assert_allclose(e[1, 2], np.concatenate(place), rtol=1e-6)
