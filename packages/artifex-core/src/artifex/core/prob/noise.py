"""Noise that belongs to a row, not to a batch.

    key_i = fold_in(key, i),    noise_i = draw(key_i),                                                       (1)
so sample i of seed s is the same whatever the number of samples, the chunk or the number of devices. Row i of a chunk
that starts at row k has index k + i: `RowRngs` carries k.

A stream that an `nnx.Rngs` does not have is derived from one that it has,
    key_name = fold_in(key_params or key_default, crc32(name)),                                              (2)
so that a model can be built and run from `nnx.Rngs(0)` and from `nnx.Rngs(params=key)` alike.
"""

from __future__ import annotations

import zlib

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key


class RowRngs(nnx.Rngs):
    """Random streams for the rows `first_row`, `first_row + 1`, … of a larger set of samples."""

    def __init__(self, key: Key[Array, ""], first_row: Int[Array, ""] | int = 0) -> None:
        super().__init__(key)
        self.first_row = nnx.Variable(jnp.asarray(first_row, jnp.int32))


def stream_key(rngs: nnx.Rngs, name: str) -> Key[Array, ""]:
    """The next key of stream `name`; a missing stream is derived from `params` or `default` (eq. 2)."""
    if name in rngs:
        return rngs[name]()
    for parent in ("default", "params"):
        if parent in rngs:
            return jax.random.fold_in(rngs[parent](), zlib.crc32(name.encode()))
    raise ValueError(
        f"stream_key: expected an nnx.Rngs with the stream {name!r}, 'params' or 'default', got {sorted(rngs)}. "
        "Build it as nnx.Rngs(0) or nnx.Rngs(params=key)."
    )


def row_keys(rngs: nnx.Rngs, n_rows: int, *, stream: str = "noise") -> Key[Array, " batch"]:
    """One key a row (eq. 1), from the next key of the stream."""
    first = rngs.first_row[...] if isinstance(rngs, RowRngs) else 0
    rows = first + jnp.arange(n_rows, dtype=jnp.uint32)
    return jax.vmap(jax.random.fold_in, (None, 0))(stream_key(rngs, stream), rows)


def normal(rngs: nnx.Rngs, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Float[Array, "batch *event"]:
    """Standard normal noise of `shape`, whose first axis is the row."""
    return jax.vmap(lambda key: jax.random.normal(key, shape[1:], dtype))(row_keys(rngs, shape[0]))


def uniform(rngs: nnx.Rngs, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Float[Array, "batch *event"]:
    """Uniform noise in [0, 1) of `shape`, whose first axis is the row."""
    return jax.vmap(lambda key: jax.random.uniform(key, shape[1:], dtype))(row_keys(rngs, shape[0]))


def categorical(rngs: nnx.Rngs, logits: Float[Array, "batch *event level"]) -> Int[Array, "batch *event"]:
    """One level per entry, drawn with probability softmax(logits)."""
    return jax.vmap(jax.random.categorical)(row_keys(rngs, logits.shape[0]), logits)


def bernoulli(rngs: nnx.Rngs, p: Float[Array, "batch *event"]) -> Bool[Array, "batch *event"]:
    """True with probability p, independently per entry."""
    return uniform(rngs, p.shape, p.dtype) < p
