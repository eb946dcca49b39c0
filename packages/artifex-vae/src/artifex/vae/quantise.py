"""Quantisers: continuous codes to entries of a codebook.

    k(z)  = argmin_j ‖z − e_j‖²,   z_q = e_{k(z)}                                                                (1)
    out   = z + sg(z_q − z)                    straight-through: the decoder's gradient reaches the encoder       (2)
    commitment = ‖z − sg(z_q)‖²                                                                                  (3)
    N_j ← γ N_j + (1 − γ) n_j,   m_j ← γ m_j + (1 − γ) Σ_{k(z)=j} z,   e_j = m_j / Ñ_j                           (4)
    Ñ_j  = (N_j + ε) / (Σ N + Kε) Σ N          Laplace smoothing                                                  (5)
The codebook moves by (4) in training mode only. It starts from rows of the first batch, by k-means, and a code that
falls out of use is put on a row of the batch.

References:
    [1] van den Oord, Vinyals & Kavukcuoglu, Neural Discrete Representation Learning, 2017, arXiv:1711.00937
    [2] Dhariwal et al., Jukebox, 2020, arXiv:2005.00341: restart of dead codes
    [3] Zeghidour et al., SoundStream, 2021, arXiv:2107.03312: residual quantisation
    [4] Mentzer et al., Finite Scalar Quantization, 2023, arXiv:2309.15505
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.nn.init import normal

Rows = Float[Array, "row width"]
KMEANS_STEPS = 10
DEAD_BELOW = 0.01  # average uses a batch below which a code is put on a row of the batch


class Codebook(nnx.Variable):
    """State of a quantiser that no gradient moves."""


class Quantised(NamedTuple):
    """What a quantiser gives."""

    z: Float[Array, "*batch width"]  # eq. 2
    codes: Int[Array, "..."]
    commitment: Float[Array, "*batch"]  # eq. 3, the mean over the width


class VectorQuantiser(nnx.Module):
    """A codebook that follows the codes that use it (eq. 1 to 5)."""

    def __init__(self, n_codes: int, width: int, *, decay: float = 0.99, eps: float = 1e-5, rngs: nnx.Rngs) -> None:
        self.decay, self.eps = decay, eps
        self.deterministic = False  # nnx's switch for evaluation: the codebook stays
        start = normal(1.0)(rngs.params(), (n_codes, width))
        self.entries = Codebook(start)
        self.sums = Codebook(start)
        self.counts = Codebook(jnp.ones(n_codes))
        self.started = Codebook(jnp.zeros((), bool))

    def __call__(self, z: Float[Array, "*batch width"], *, weight: Float[Array, "*batch"] | None = None) -> Quantised:
        """The nearest entries; in training mode the codebook moves.

        Args:
            weight: 0 for rows that do not count.
        """
        rows = z.reshape(-1, z.shape[-1])
        if not self.deterministic:
            self.start(rows)
        codes = nearest(rows, self.entries[...])
        z_q = self.entries[...][codes].reshape(z.shape)
        if not self.deterministic:
            counted = jnp.ones(len(rows)) if weight is None else weight.reshape(-1)
            self.follow(jax.lax.stop_gradient(rows), codes, counted)
        commitment = ((z - jax.lax.stop_gradient(z_q)) ** 2).mean(-1)  # eq. 3
        return Quantised(z + jax.lax.stop_gradient(z_q - z), codes.reshape(z.shape[:-1]), commitment)  # eq. 2

    def lookup(self, codes: Int[Array, "*batch"]) -> Float[Array, "*batch width"]:
        """Entries by number."""
        return self.entries[...][codes]

    def lookup_codes(self, z: Float[Array, "*batch width"]) -> Int[Array, "*batch"]:
        """Numbers of the nearest entries (eq. 1)."""
        return nearest(z.reshape(-1, z.shape[-1]), self.entries[...]).reshape(z.shape[:-1])

    def start(self, rows: Rows) -> None:
        """Put the codebook on the first batch, by k-means.

        Raises:
            ValueError: the batch has fewer rows than there are codes.
        """
        n_codes = len(self.counts[...])
        if len(rows) < n_codes:
            raise ValueError(
                f"VectorQuantiser: expected at least {n_codes} rows in the first batch, a row a code, got {len(rows)}. "
                "Raise trainer.batch_size, or lower n_codes."
            )
        begun = self.started[...]
        still = jax.lax.stop_gradient(rows)
        found = jax.lax.cond(begun, lambda: self.entries[...], lambda: kmeans(still, n_codes))
        self.entries[...] = found
        self.sums[...] = jnp.where(begun, self.sums[...], found)
        self.started[...] = jnp.ones((), bool)

    def follow(self, rows: Rows, codes: Int[Array, " row"], weight: Float[Array, " row"]) -> None:
        """Move the codebook towards the rows that use it (eq. 4, 5), and dead codes onto rows."""
        dtype = self.entries[...].dtype
        weight = weight.astype(dtype)
        rows = jnp.where(weight[:, None] > 0, rows, 0).astype(dtype)
        n_codes = len(self.counts[...])
        counts = self.decay * self.counts[...] + (1 - self.decay) * jax.ops.segment_sum(weight, codes, n_codes)
        used = jax.ops.segment_sum(rows * weight[:, None], codes, n_codes)
        sums = self.decay * self.sums[...] + (1 - self.decay) * used
        dead = counts < DEAD_BELOW
        # A row for each code: spread over the batch, so that two dead codes land apart.
        spare = rows[jnp.arange(len(counts)) * len(rows) // len(counts)]
        counts = jnp.where(dead, 1.0, counts)
        sums = jnp.where(dead[:, None], spare, sums)
        total = counts.sum()
        smooth = (counts + self.eps) / (total + len(counts) * self.eps) * total  # eq. 5
        self.counts[...], self.sums[...], self.entries[...] = counts, sums, sums / smooth[:, None]


class ResidualQuantiser(nnx.Module):
    """Quantisers one after the other, each on what the ones before left over [3]."""

    def __init__(self, depth: int, n_codes: int, width: int, *, decay: float = 0.99, rngs: nnx.Rngs) -> None:
        self.parts = nnx.List(VectorQuantiser(n_codes, width, decay=decay, rngs=rngs) for _ in range(depth))

    def __call__(self, z: Float[Array, "*batch width"], *, weight: Float[Array, "*batch"] | None = None) -> Quantised:
        """The sum of the entries; codes [..., depth]."""
        left, total, codes, commitment = z, jnp.zeros_like(z), [], jnp.zeros(z.shape[:-1], z.dtype)
        for part in self.parts:
            found = part(left, weight=weight)
            entry = jax.lax.stop_gradient(found.z)
            left, total = left - entry, total + entry
            commitment = commitment + found.commitment
            codes.append(found.codes)
        return Quantised(z + jax.lax.stop_gradient(total - z), jnp.stack(codes, -1), commitment)


class ScalarQuantiser(nnx.Module):
    """Each number rounded to one of a few levels; the codebook is the grid, and nothing is learned [4]."""

    def __init__(self, levels: Sequence[int]) -> None:
        self.levels = tuple(levels)

    def __call__(self, z: Float[Array, "*batch width"]) -> Quantised:
        """Numbers in [−1, 1] on the grid, with the number of each cell."""
        half = (np.array(self.levels) - 1) / 2
        offset = np.where(np.array(self.levels) % 2 == 0, 0.5, 0.0)
        shift = np.arctanh(offset / (half * (1 - 1e-3)))
        bounded = jnp.tanh(z + shift) * half * (1 - 1e-3) - offset
        rounded = jnp.round(bounded)
        z_q = (bounded + jax.lax.stop_gradient(rounded - bounded)) / np.floor(np.array(self.levels) / 2)
        digits = (rounded + np.floor(np.array(self.levels) / 2)).astype(jnp.int32)
        basis = np.cumprod([1, *self.levels[:-1]])
        return Quantised(z_q, (digits * basis).sum(-1), jnp.zeros(z.shape[:-1], z.dtype))


def nearest(rows: Rows, entries: Float[Array, "code width"]) -> Int[Array, " row"]:
    """The entry nearest to each row (eq. 1); ‖z‖² is the same for all entries and left out."""
    products = jnp.matmul(rows, entries.T.astype(rows.dtype), preferred_element_type=entries.dtype)
    return jnp.argmin((entries**2).sum(-1) - 2 * products, axis=-1)


def kmeans(rows: Rows, k: int) -> Float[Array, "code width"]:
    """k centres: Lloyd's iterations from rows spread over the batch; an empty centre stays where it is."""
    whole = rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
    centres = whole[np.arange(k) * len(rows) // k]

    def step(centres: Array, _: None) -> tuple[Array, None]:
        codes = nearest(rows, centres)
        counts = jax.ops.segment_sum(jnp.ones(len(rows), whole.dtype), codes, k)[:, None]
        return jnp.where(counts > 0, jax.ops.segment_sum(whole, codes, k) / jnp.maximum(counts, 1), centres), None

    return jax.lax.scan(step, centres, None, length=KMEANS_STEPS)[0]
