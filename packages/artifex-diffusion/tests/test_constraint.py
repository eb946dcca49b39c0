"""Constraints on estimates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.diffusion.constraint import dynamic_threshold, inpaint, static_threshold
from artifex.diffusion.exact import Mixture
from artifex.diffusion.grid import Trailing
from artifex.diffusion.multistep import DPMSolver
from artifex.diffusion.schedule import VPLinear

SCHEDULE, T = VPLinear(), 0.4
BOTH = Mixture(np.array([[-1.0, 0.5], [1.5, 0.0]]), np.array([0.3, 0.8])).denoiser(SCHEDULE)
with jax.enable_x64(True):
    X = jnp.asarray(np.random.default_rng(0).standard_normal((16, 2)))


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def test_thresholds_keep_rows_within_the_range():
    x0 = lambda x, t: 3.0 * x  # noqa: E731
    np.testing.assert_allclose(static_threshold(x0)(X, T), np.clip(3 * X, -1, 1))
    found = np.asarray(dynamic_threshold(x0, q=1.0)(X, T))
    largest = np.maximum(np.abs(3 * np.asarray(X)).max(1, keepdims=True), 1)
    np.testing.assert_allclose(found, 3 * np.asarray(X) / largest, atol=1e-12)
    small = lambda x, t: 0.1 * x / jnp.abs(x).max()  # noqa: E731
    np.testing.assert_allclose(dynamic_threshold(small)(X, T), small(X, T), atol=1e-12)


def test_inpainting_ends_with_what_is_known(run):
    known, mask = jnp.full((16, 2), 0.7), jnp.array([1.0, 0.0])
    end = run(inpaint(BOTH, known, mask), X, Trailing()(SCHEDULE, 10), DPMSolver())
    np.testing.assert_allclose(end[:, 0], 0.7, atol=1e-12)
    assert np.ptp(end[:, 1]) > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: static_threshold(BOTH, 1.0, -1.0), "expected low < high, got 1.0 and -1.0"),
        (lambda: dynamic_threshold(BOTH, q=0.0), "0 < 'q' <= 1, got 0.0"),
    ],
)
def test_bad_bounds_name_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()
