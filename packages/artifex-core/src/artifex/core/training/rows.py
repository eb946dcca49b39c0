"""Rows that count: a batch that was filled up says so in `mask`, one number a row, 0 for what is padding.

mean = Σ_i m_i v_i / Σ_i m_i                                                                                (1)
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.core.protocols import Batch


def masked_mean(values: Float[Array, " batch"], batch: Batch) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The mean over the rows that count, and how many they are (eq. 1); a row whose `mask` is 0 may hold anything."""
    if "mask" not in batch:
        return values.mean(), jnp.asarray(values.size, values.dtype)
    real = batch["mask"] > 0
    count = jnp.maximum(real.sum(), 1).astype(values.dtype)
    return jnp.where(real, values, 0).sum() / count, count
