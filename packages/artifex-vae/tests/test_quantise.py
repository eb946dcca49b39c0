"""Quantisers: gradients, moving codebooks, starts and restarts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten, merge
from artifex.vae.quantise import ResidualQuantiser, ScalarQuantiser, VectorQuantiser, kmeans, nearest


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)


def test_nearest_is_the_least_distance(rows):
    entries = np.random.default_rng(1).standard_normal((7, 3)).astype(np.float32)
    brute = ((rows[:, None] - entries[None]) ** 2).sum(-1).argmin(1)
    np.testing.assert_array_equal(nearest(jnp.asarray(rows), jnp.asarray(entries)), brute)


def test_encoder_gradient_is_the_decoder_gradient_at_the_code_plus_commitment(rows):
    quantiser = VectorQuantiser(8, 3, rngs=nnx.Rngs(0))
    quantiser.eval()
    layout, arrays = flatten(quantiser)
    weights = jnp.asarray(np.random.default_rng(2).standard_normal(rows.shape), jnp.float32)

    def loss(z):
        found = merge(layout, arrays)(z)
        return (weights * found.z**2).sum() + 0.25 * found.commitment.sum()

    z_q = np.asarray(quantiser.lookup(quantiser(jnp.asarray(rows)).codes))
    expected = 2 * weights * z_q + 0.25 * 2 * (rows - z_q) / 3
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(rows)), expected, atol=1e-5)


def test_codebook_follows_the_moving_average(rows):
    quantiser = VectorQuantiser(4, 3, decay=0.9, eps=1e-5, rngs=nnx.Rngs(0))
    quantiser.started[...] = jnp.ones((), bool)
    start = np.asarray(quantiser.entries[...], float)
    codes = np.asarray(quantiser(jnp.asarray(rows)).codes)
    counts = 0.9 + 0.1 * np.bincount(codes, minlength=4)
    sums = 0.9 * start + 0.1 * np.stack([rows[codes == j].sum(0) for j in range(4)])
    smooth = (counts + 1e-5) / (counts.sum() + 4e-5) * counts.sum()
    np.testing.assert_allclose(quantiser.entries[...], sums / smooth[:, None], rtol=1e-5)


def test_evaluation_leaves_the_codebook(rows):
    quantiser = VectorQuantiser(4, 3, rngs=nnx.Rngs(0))
    quantiser.eval()
    before = np.asarray(quantiser.entries[...])
    quantiser(jnp.asarray(rows))
    np.testing.assert_array_equal(quantiser.entries[...], before)


def test_kmeans_finds_separate_clusters():
    centres = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    rows = np.repeat(centres, 20, 0) + 0.1 * np.random.default_rng(0).standard_normal((60, 2))
    found = np.asarray(kmeans(jnp.asarray(rows, jnp.float32), 3))
    assert np.abs(found[np.argsort(found @ [1, 2])] - centres[np.argsort(centres @ [1, 2])]).max() < 0.1


def test_a_dead_code_comes_back_to_the_data(rows):
    quantiser = VectorQuantiser(4, 3, decay=0.5, rngs=nnx.Rngs(0))
    quantiser.started[...] = jnp.ones((), bool)
    quantiser.entries[...] = quantiser.entries[...].at[2].set(1000.0)
    quantiser.sums[...] = quantiser.entries[...]
    for _ in range(12):  # 0.5^7 < 0.01
        quantiser(jnp.asarray(rows))
    assert np.abs(np.asarray(quantiser.entries[...])).max() < 5


def test_masked_rows_do_not_move_the_codebook(rows):
    found = []
    for other in (0.0, 50.0):
        quantiser = VectorQuantiser(4, 3, rngs=nnx.Rngs(0))
        quantiser.started[...] = jnp.ones((), bool)
        z = np.concatenate([rows[:32], np.full((32, 3), other, np.float32)])
        quantiser(jnp.asarray(z), weight=jnp.asarray((np.arange(64) < 32).astype(np.float32)))
        found.append(np.asarray(quantiser.sums[...]))
    np.testing.assert_array_equal(found[0], found[1])


def test_residual_quantiser_gets_nearer_with_depth(rows):
    errors = []
    for depth in (1, 3):
        quantiser = ResidualQuantiser(depth, 16, 3, rngs=nnx.Rngs(0))
        quantiser(jnp.asarray(rows))
        errors.append(float(((quantiser(jnp.asarray(rows)).z - rows) ** 2).mean()))
    assert errors[1] < 0.5 * errors[0]


def test_scalar_quantiser_gives_every_level_a_number():
    quantiser = ScalarQuantiser((3, 4))
    z = jnp.asarray(np.random.default_rng(0).uniform(-4, 4, (5000, 2)), jnp.float32)
    found = quantiser(z)
    assert sorted(np.unique(found.codes)) == list(range(12))
    assert [len(np.unique(np.asarray(found.z)[:, i].round(4))) for i in range(2)] == [3, 4]


def test_fewer_rows_than_codes_are_refused(rows):
    with pytest.raises(ValueError, match="at least 100 rows in the first batch, a row a code, got 64"):
        VectorQuantiser(100, 3, rngs=nnx.Rngs(0))(jnp.asarray(rows))
