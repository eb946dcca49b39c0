"""A pool of past fakes, so that a critic does not forget them.

    fewer than `capacity` stored   store the new picture and give it back                                        (1)
    otherwise, with probability ½  give back a stored one, drawn uniformly, and store the new one in its place    (2)
    otherwise                      give the new one back
Row by row, so that a later row may be given what an earlier one left. A pool is arrays: they lie in Variables of the
model, hence in every checkpoint.

References:
    [1] Shrivastava et al., Learning from Simulated and Unsupervised Images through Adversarial Training, 2017,
        arXiv:1612.07828
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from artifex.gan.networks import Pictures


class Pool(NamedTuple):
    """Stored pictures, the first `filled` of which are there."""

    pictures: Float[Array, "capacity height width channel"]
    filled: Int[Array, ""]


class Draws(NamedTuple):
    """What chance decides for each row, so that an oracle can be given the same."""

    swap: Bool[Array, " batch"]
    place: Int[Array, " batch"]


def draws(key: Key[Array, ""], n: int, capacity: int) -> Draws:
    """Whether each row is swapped, and for which stored picture."""
    swap, place = jax.random.split(key)
    return Draws(jax.random.bernoulli(swap, 0.5, (n,)), jax.random.randint(place, (n,), 0, capacity))


def exchange(pool: Pool, new: Pictures, chance: Draws) -> tuple[Pool, Pictures]:
    """The pool after these pictures, and what it gives for each (eq. 1, 2)."""
    capacity = len(pool.pictures)

    def one(pool: Pool, row: tuple[Array, Array, Array]) -> tuple[Pool, Array]:
        picture, swap, place = row
        filling = pool.filled < capacity  # eq. 1
        at = jnp.where(filling, pool.filled, place)
        stored = pool.pictures[at]
        given = jnp.where(~filling & swap, stored, picture)  # eq. 2
        kept = jnp.where(filling | swap, picture, stored)
        return Pool(pool.pictures.at[at].set(kept), jnp.minimum(pool.filled + 1, capacity)), given

    return jax.lax.scan(one, pool, (new.astype(pool.pictures.dtype), chance.swap, chance.place))


class Kept(nnx.Variable):
    """What a pool holds."""


class ImagePool(nnx.Module):
    """A pool as state of a model; in evaluation mode it gives back what it is given."""

    def __init__(self, capacity: int, shape: tuple[int, ...]) -> None:
        self.deterministic = False  # nnx's switch for evaluation
        self.pictures = Kept(jnp.zeros((capacity, *shape)))
        self.count = Kept(jnp.zeros((), jnp.int32))

    def __call__(self, new: Pictures, key: Key[Array, ""]) -> Pictures:
        """For each new picture that one or a stored one."""
        if self.deterministic or not len(self.pictures[...]):
            return new
        pool = Pool(self.pictures[...], self.count[...])
        pool, given = exchange(pool, new, draws(key, len(new), len(pool.pictures)))
        self.pictures[...], self.count[...] = pool.pictures, pool.filled
        return given.astype(new.dtype)
