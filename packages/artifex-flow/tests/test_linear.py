"""Linear maps against their matrices, autodiff and the statistics of a batch."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.flow.linear import ActNorm, LULinear, Permute, Reverse

DIM = 5  # with this seed no permutation that is its own inverse


def maps():
    rngs = nnx.Rngs(0)
    return {
        "reverse": Reverse(DIM),
        "permute": Permute(DIM, rngs=rngs),
        "lu": LULinear(DIM, rngs=rngs),
        "actnorm": ActNorm((DIM,), rngs=rngs),
    }


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((6, DIM))


@pytest.mark.parametrize("name", maps())
def test_every_linear_map_keeps_the_laws(x64, x, lively, laws, name):
    errors = laws(lively(maps()[name], dtype="float64"), jnp.asarray(x))
    assert max(errors.values()) < 1e-10, errors


def test_permute_moves_two_numbers_whatever_the_seed():
    assert all(list(Permute(2, rngs=nnx.Rngs(seed)).order[...]) == [1, 0] for seed in range(4))


def test_permute_keeps_the_numbers_of_each_row(x):
    z, log_det = Permute(DIM, rngs=nnx.Rngs(1)).forward(jnp.asarray(x))
    np.testing.assert_array_equal(np.sort(z), np.sort(jnp.asarray(x)))
    assert not np.array_equal(z, jnp.asarray(x))
    assert float(jnp.abs(log_det).max()) == 0


def test_lu_is_multiplication_by_the_product_of_its_factors(x64, x, lively):
    linear = lively(LULinear(DIM, rngs=nnx.Rngs(0)), dtype="float64")
    lower, upper = np.asarray(linear.lower()), np.asarray(linear.upper())
    np.testing.assert_array_equal(lower, np.tril(lower))
    np.testing.assert_array_equal(np.diag(lower), 1)
    np.testing.assert_array_equal(upper, np.triu(upper))
    np.testing.assert_allclose(
        linear.forward(jnp.asarray(x)).value, x @ (lower @ upper).T + linear.bias[...], atol=1e-12
    )


def test_a_new_lu_is_the_identity(x):
    z, log_det = LULinear(DIM, rngs=nnx.Rngs(0)).forward(jnp.asarray(x))
    np.testing.assert_allclose(z, x, atol=1e-6)
    np.testing.assert_allclose(log_det, 0, atol=1e-6)


def test_actnorm_gives_the_rows_that_count_mean_0_and_variance_1():
    norm = ActNorm((5, 3), rngs=nnx.Rngs(0))
    x = 4 + 3 * np.random.default_rng(0).standard_normal((50, 5, 3))
    x[30:] = np.nan  # padding
    z = norm.initialise(jnp.asarray(x, jnp.float32), None, jnp.asarray(np.arange(50) < 30, jnp.float32))
    np.testing.assert_allclose(z[:30].mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(z[:30].var((0, 1)), 1, atol=1e-4)


def test_actnorm_counts_a_channel_once_for_each_position():
    norm = ActNorm((5, 3), rngs=nnx.Rngs(0))
    norm.log_scale[...] = jnp.asarray([0.1, 0.2, 0.4])
    _, log_det = norm.forward(jnp.zeros((2, 5, 3)))
    np.testing.assert_allclose(log_det, 5 * 0.7, rtol=1e-6)


def test_actnorm_of_a_constant_channel_stays_finite():
    norm = ActNorm((2,), rngs=nnx.Rngs(0))
    z = norm.initialise(jnp.asarray([[1.0, 2.0], [1.0, 3.0]]), None, jnp.ones(2))
    np.testing.assert_allclose(z, [[0, -1], [0, 1]], atol=1e-4)
