"""Filters against scipy's, resampling against plain convolution, the nonlinearity against its definition."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from artifex.gan.filters import (
    Band,
    bessel_j1,
    filtered_leaky_relu,
    kaiser_beta,
    low_pass,
    radial,
    radial_low_pass,
    resample,
    resampling_matrix,
    separable,
)

FIRST_UP = Band(2.0, 12.0, 32)  # of StyleGAN3 at 256 pixels: cutoff 2, half width 6, twice a rate of 16


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 9, 9, 3))


def fir_signal(n_taps: int, band: Band) -> np.ndarray:
    signal = pytest.importorskip("scipy.signal")
    return signal.firwin(n_taps, band.cutoff, width=band.width, fs=band.rate)


def along_axes(x: np.ndarray, taps: np.ndarray, *, up: int, down: int) -> np.ndarray:
    """scipy's up, filter, down along height and width, without trimming."""
    signal = pytest.importorskip("scipy.signal")
    for axis in (1, 2):
        x = signal.upfirdn(taps, x, up, down, axis=axis)
    return x


def test_first_up_filter_is_the_papers():
    half = [0.00079, 0.01002, 0.03895, 0.09241, 0.15653, 0.2013]
    np.testing.assert_allclose(low_pass(12, FIRST_UP), half + half[::-1], atol=5e-6)  # half a unit of the last digit
    assert kaiser_beta(12, FIRST_UP) == pytest.approx(6.4437, abs=5e-5)


@pytest.mark.parametrize("band", [FIRST_UP, Band(8, 3, 64), Band(20, 0.9, 64), Band(30, 0.01, 64)])
@pytest.mark.parametrize("n_taps", [12, 24])
def test_low_pass_is_scipys(band, n_taps):
    np.testing.assert_allclose(low_pass(n_taps, band), fir_signal(n_taps, band), atol=1e-12)


def test_bessel_function_is_scipys():
    special = pytest.importorskip("scipy.special")
    x = np.linspace(-60, 60, 501)
    np.testing.assert_allclose(bessel_j1(x), special.j1(x), atol=1e-13)


def test_radial_filter_is_the_jinc_under_the_window():
    special, signal = pytest.importorskip("scipy.special"), pytest.importorskip("scipy.signal")
    band = Band(8, 6, 64)
    place = (np.arange(12) - 5.5) / 64
    r = np.hypot(place[:, None], place)
    kaiser = signal.windows.kaiser(12, kaiser_beta(12, band))
    expected = special.j1(2 * np.pi * 8 * r) / r * kaiser[:, None] * kaiser
    np.testing.assert_allclose(radial_low_pass(12, band), expected / expected.sum(), atol=1e-12)


def test_radial_terms_add_up_to_the_filter():
    # One output of twelve entries: its weights are the taps.
    taps = radial_low_pass(12, Band(8, 6, 64))
    rows, columns = radial(taps, (12, 1), down=2)
    assert len(rows) < 6
    np.testing.assert_allclose(np.einsum("koi,koj->ij", rows, columns), taps, atol=1e-8)


def test_raising_is_scipys_up_and_filter(x):
    taps = low_pass(12, FIRST_UP)
    raised = resample(jnp.asarray(x, jnp.float32), separable(taps, (9, 28), up=2))
    np.testing.assert_allclose(raised, 4 * along_axes(x, taps, up=2, down=1), atol=1e-5)  # float32


def test_lowering_keeps_the_places_where_every_tap_lies_on_the_canvas():
    x = np.random.default_rng(0).standard_normal((1, 128, 128, 2))  # more rows than one block
    taps = low_pass(12, FIRST_UP)
    lowered = resample(jnp.asarray(x, jnp.float32), separable(taps, (128, 59), down=2))
    np.testing.assert_allclose(lowered, along_axes(x, taps, up=1, down=1)[:, 11:128:2, 11:128:2], atol=1e-5)


def test_a_radial_filter_is_a_convolution_of_two_axes(x):
    signal = pytest.importorskip("scipy.signal")
    taps = radial_low_pass(12, Band(4, 8, 32))
    lowered = resample(jnp.asarray(np.tile(x, (1, 4, 4, 1)), jnp.float32), radial(taps, (36, 13), down=2))
    picture = np.tile(x, (1, 4, 4, 1))[0, :, :, 0]
    np.testing.assert_allclose(lowered[0, :, :, 0], signal.convolve2d(picture, taps, "valid")[::2, ::2], atol=1e-5)


def test_a_constant_stays_what_it_is():
    taps = low_pass(12, FIRST_UP)
    inner = separable(taps, (12, 12), up=2).rows[0][4:8].sum(1)
    np.testing.assert_allclose(inner, 1, atol=3e-3)  # the stop band of 67 dB: the images of a constant


def test_sizes_without_a_common_centre_are_refused():
    with pytest.raises(ValueError, match="common centre, got sizes \\(9, 9\\), factors 2 and 1, 12 taps"):
        resampling_matrix(low_pass(12, FIRST_UP), (9, 9), up=2)


def test_filtered_nonlinearity_is_scipys_chain(x):
    up, down = low_pass(12, FIRST_UP), low_pass(12, Band(4, 8, 32))
    raised = along_axes(x, up, up=2, down=1) * 4
    bent = np.clip(np.sqrt(2) * np.where(raised > 0, raised, 0.2 * raised), -0.5, 0.5)
    expected = along_axes(bent, down, up=1, down=1)[:, 11:28:2, 11:28:2]
    found = filtered_leaky_relu(
        jnp.asarray(x, jnp.float32), separable(up, (9, 28), up=2), separable(down, (28, 9), down=2), clamp=0.5
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
