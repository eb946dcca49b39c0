"""Batches of data that lie on the device.

The host lays the orders of some epochs end to end (eq. 1 of `order`),

    window = perm_e, perm_{e+1}, …                                                                               (1)
and the compiled step reads batch after batch from it: with `start` the place of the first row in the window,
    batch  = x[window[start : start + B]].                                                                       (2)
Two epochs are enough for every start in the first of them, if the batch is no larger than the data.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Array, Int, Shaped

from artifex.core.data.order import permutation


def order_window(n: int, seed: int, epoch: int, epochs: int = 2) -> Int[np.ndarray, " row"]:
    """The orders of `epochs` epochs from `epoch` on, end to end, int32 (eq. 1)."""
    orders = [permutation(n, seed, e) for e in range(epoch, epoch + epochs)]
    return np.concatenate(orders).astype(np.int32)


def gather(
    arrays: Mapping[str, Shaped[Array, "row ..."]],
    order: Int[Array, " window"],
    start: Int[Array, ""],
    batch_size: int,
) -> dict[str, Shaped[Array, "batch ..."]]:
    """The rows of one batch (eq. 2); `start + batch_size` must not pass the end of the window."""
    rows = jax.lax.dynamic_slice_in_dim(order, start, batch_size)
    return {name: x.at[rows].get(mode="promise_in_bounds") for name, x in arrays.items()}
