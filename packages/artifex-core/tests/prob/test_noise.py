"""Noise that belongs to a row."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from artifex.core.prob import noise
from artifex.core.prob.noise import RowRngs, stream_key


def test_row_i_is_the_same_whatever_the_number_of_rows_and_the_chunk():
    whole = noise.normal(RowRngs(jax.random.key(0)), (8, 3))
    np.testing.assert_array_equal(noise.normal(RowRngs(jax.random.key(0)), (5, 3)), whole[:5])
    np.testing.assert_array_equal(noise.normal(RowRngs(jax.random.key(0), 5), (3, 3)), whole[5:])


def test_rngs_of_both_forms_have_every_stream():
    for rngs in (nnx.Rngs(0), nnx.Rngs(params=jax.random.key(0)), nnx.Rngs(noise=3)):
        assert stream_key(rngs, "noise").shape == ()
    with pytest.raises(ValueError, match=r"expected an nnx\.Rngs with the stream 'noise', 'params' or 'default'"):
        stream_key(nnx.Rngs(dropout=1), "noise")


def test_two_draws_differ_and_are_normal():
    rngs = RowRngs(jax.random.key(1))
    a, b = (np.asarray(noise.normal(rngs, (2000, 2))).ravel() for _ in range(2))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(4000)
    assert stats.kstest(a, "norm").pvalue > 1e-3


def test_categorical_and_bernoulli_follow_their_probabilities():
    logits = jnp.broadcast_to(jnp.log(jnp.asarray([0.2, 0.5, 0.3])), (20_000, 3))
    counts = np.bincount(np.asarray(noise.categorical(nnx.Rngs(0), logits)), minlength=3) / 20_000
    np.testing.assert_allclose(counts, [0.2, 0.5, 0.3], atol=4 * 0.5 / np.sqrt(20_000))
    share = float(noise.bernoulli(nnx.Rngs(1), jnp.full((20_000, 1), 0.3)).mean())
    assert abs(share - 0.3) < 4 * np.sqrt(0.21 / 20_000)
