"""Grey pictures with labels as sources: levels, binarisation, flattening.

    none         grey levels in [0, 1]
    threshold    1 from one half on
    stochastic   1 with the probability that the grey level is: drawn anew at each step of training, and once with
                 seed 0 for held-out data [1]

References:
    [1] Salakhutdinov & Murray, On the Quantitative Analysis of Deep Belief Networks, 2008, doi:10.1145/1390156.1390266
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from artifex.core.data.source import ArraySource
from artifex.core.data.spec import DataSpec

Binarise = Literal["none", "threshold", "stochastic"]


def labelled_pictures(
    x: Float[np.ndarray, "row height width 1"],
    y: Int[np.ndarray, " row"] | None,
    *,
    name: str,
    levels: int,
    binarise: Binarise = "none",
    flat: bool = False,
    fresh: bool = True,
) -> ArraySource:
    """Pictures in [0, 1] and their labels from 0 to 9 as a source.

    Args:
        fresh: stochastic pixels are drawn in the training step; otherwise they are drawn here, once.
    """
    if binarise == "threshold":
        x = (x >= 0.5).astype(np.float32)
    elif binarise == "stochastic" and not fresh:
        x = (np.random.default_rng(0).random(x.shape) < x).astype(np.float32)
    events = x.reshape(len(x), -1) if flat else x
    spec = DataSpec(
        shape=events.shape[1:],
        low=0.0,
        high=1.0,
        levels=levels if binarise == "none" else 2,
        kind="vector" if flat else "image",
        n_classes=None if y is None else 10,
        condition_shape=None if y is None else (),
    )
    arrays = {"x": events} if y is None else {"x": events, "y": y}
    return ArraySource(arrays, spec, name=name, transform=draw_pixels if binarise == "stochastic" and fresh else None)


def draw_pixels(batch: dict[str, Array], key: Key[Array, ""]) -> dict[str, Array]:
    """The batch with each pixel 1 with the probability that its grey level is."""
    return {**batch, "x": jax.random.bernoulli(key, batch["x"]).astype(jnp.float32)}
