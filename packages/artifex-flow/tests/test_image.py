"""Bijectors of pictures against autodiff Jacobians and closed forms."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.flow.image import (
    Conv1x1,
    Flatten,
    Split,
    Squeeze,
    ZeroConv,
    check_sides,
    checkerboard,
    half_of_channels,
)

EVENT = (4, 4, 2)


pytestmark = pytest.mark.usefixtures("x64")


def pictures(n: int = 2, event: tuple[int, ...] = EVENT) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).uniform(0.05, 0.95, (n, *event)))


BIJECTORS = {
    "flatten": lambda: Flatten(EVENT),
    "squeeze": lambda: Squeeze(EVENT),
    "conv1x1": lambda: Conv1x1((4, 4, 3), rngs=nnx.Rngs(0)),
    "split": lambda: Split(EVENT, Flatten((4, 4, 1)), ZeroConv(1, 2, rngs=nnx.Rngs(0))),
    "split_without_prior": lambda: Split(EVENT, Flatten((4, 4, 1))),
}


@pytest.mark.parametrize("name", BIJECTORS)
def test_log_det_equals_autodiff_jacobian_and_the_inverse_undoes_it(name, lively):
    bijector = lively(BIJECTORS[name](), dtype="float64")

    @jax.jit
    def everything(x):
        z, log_det = bijector.forward(x)
        again, back = bijector.inverse(z)
        jacobian = jax.vmap(jax.jacfwd(lambda row: bijector.forward(row.reshape(1, *x.shape[1:])).value.ravel()))
        return again, log_det, back, jacobian(x.reshape(len(x), -1))

    x = pictures(event=bijector.event_shape)
    again, log_det, back, jacobian = everything(x)
    np.testing.assert_allclose(again, x, atol=1e-10)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-10)
    np.testing.assert_allclose(back, -log_det, atol=1e-10)
    if name in ("squeeze", "flatten"):  # a permutation: one 1 in each row and column
        np.testing.assert_array_equal(np.sort(jacobian[0], axis=1)[:, -2:], [[0, 1]] * 32)
        np.testing.assert_array_equal(jacobian[0].sum(0), np.ones(32))


def test_squeeze_puts_the_four_pixels_of_a_block_into_the_channels_of_one():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(Squeeze((4, 4, 1)).forward(x).value[0, 1, 0], [8, 9, 12, 13])


def test_conv1x1_begins_as_a_rotation_and_is_the_product_of_its_factors(lively):
    conv = Conv1x1((1, 1, 5), rngs=nnx.Rngs(3))
    basis = jnp.eye(5).reshape(5, 1, 1, 5)
    start = np.asarray(conv.forward(basis).value).reshape(5, 5).T  # columns W e_i
    np.testing.assert_allclose(start @ start.T, np.eye(5), atol=1e-6)  # drawn in float32
    np.testing.assert_allclose(conv.forward(basis).log_det, 0, atol=1e-6)
    lively(conv, dtype="float64")
    w = np.asarray(conv.forward(basis).value).reshape(5, 5).T
    lower, upper = (np.asarray(factor) for factor in conv.factors(jnp.float64))
    np.testing.assert_allclose(w, (lower @ upper)[np.asarray(conv.order[...])], atol=1e-14)
    np.testing.assert_allclose(np.diag(lower), 1)
    assert np.abs(np.tril(upper, -1)).max() == 0


def test_split_noise_is_standard_normal_where_the_half_follows_its_prior(lively):
    split = lively(Split(EVENT, Flatten((4, 4, 1)), ZeroConv(1, 2, rngs=nnx.Rngs(0))), dtype="float64")
    z = jnp.asarray(np.random.default_rng(0).standard_normal((3, 32)))
    x = split.inverse(z).value
    mean, log_std = split.moments(x[..., :1])
    # N(x₂; μ, σ²) by hand equals N(ε; 0, 1) and the log-determinant.
    by_hand = -0.5 * ((x[..., 1:] - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
    z, log_det = split.forward(x)
    noise = -0.5 * (z[:, 16:] ** 2 + math.log(2 * math.pi)).sum(1)
    np.testing.assert_allclose(by_hand.sum((1, 2, 3)), noise + log_det, atol=1e-10)


def test_the_masks_halve_a_picture():
    board = checkerboard((4, 6, 3))
    assert board.sum() == 12
    assert np.abs(np.diff(board[..., 0], axis=0)).min() == 1  # neighbours differ, both ways
    assert np.abs(np.diff(board[..., 0], axis=1)).min() == 1
    np.testing.assert_array_equal(half_of_channels((2, 2, 4)).ravel(), [1, 1, 0, 0])


@pytest.mark.parametrize("event", [(5, 4, 1), (4, 7, 2), (4, 4)])
def test_odd_sides_are_refused(event):
    with pytest.raises(ValueError, match=r"Squeeze: expected pictures .* even sides, got \(. "[:-1]):
        Squeeze(event)


def test_sides_that_do_not_halve_often_enough_name_the_nearest_that_do():
    with pytest.raises(ValueError, match=r"divide by 8 to be squeezed 3 times, got \(28, 28, 1\). The nearest"):
        check_sides("GlowConfig", (28, 28, 1), 3)
    check_sides("GlowConfig", (28, 28, 1), 2)
