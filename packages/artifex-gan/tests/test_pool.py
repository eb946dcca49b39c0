"""The picture pool against plain Python on the same draws."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from artifex.gan.pool import ImagePool, Pool, draws, exchange


def plain(capacity, batches, chances):
    """The pool as a list, row by row."""
    stored, given = [], []
    for batch, chance in zip(batches, chances, strict=True):
        for picture, swap, place in zip(batch, chance.swap, chance.place, strict=True):
            if len(stored) < capacity:
                stored.append(picture)
                given.append(picture)
            elif swap:
                given.append(stored[place])
                stored[place] = picture
            else:
                given.append(picture)
    return np.stack(stored), np.stack(given)


def test_it_stores_and_gives_what_a_list_does():
    batches = np.arange(40, dtype=np.float32).reshape(8, 5, 1, 1, 1)
    chances = [draws(jax.random.key(i), 5, 7) for i in range(8)]
    pool, given = Pool(jnp.zeros((7, 1, 1, 1)), jnp.zeros((), jnp.int32)), []
    step = jax.jit(exchange)
    for batch, chance in zip(batches, chances, strict=True):
        pool, out = step(pool, jnp.asarray(batch), chance)
        given.append(np.asarray(out))
    stored, expected = plain(7, batches, [jax.tree.map(np.asarray, chance) for chance in chances])
    np.testing.assert_array_equal(pool.pictures, stored)
    np.testing.assert_array_equal(np.concatenate(given), expected)
    assert int(pool.filled) == 7
    old = np.concatenate(given).ravel() != np.arange(40)
    assert old.sum() > 5  # it does give back stored ones, and not only new ones
    assert not old[:7].any()


def test_half_of_the_rows_are_swapped():
    swap = np.asarray(draws(jax.random.key(0), 10_000, 50).swap)
    np.testing.assert_allclose(swap.mean(), 0.5, atol=0.02)  # four standard errors of 10,000 draws


def test_evaluation_gives_back_the_new_ones_and_stores_nothing():
    pool = ImagePool(2, (1, 1, 1))
    pool.eval()
    new = jnp.arange(3.0).reshape(3, 1, 1, 1)
    np.testing.assert_array_equal(pool(new, jax.random.key(0)), new)
    assert int(pool.count[...]) == 0


def test_a_pool_of_none_gives_back_the_new_ones():
    new = jnp.arange(3.0).reshape(3, 1, 1, 1)
    np.testing.assert_array_equal(ImagePool(0, (1, 1, 1))(new, jax.random.key(0)), new)
