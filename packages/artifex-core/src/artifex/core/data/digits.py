"""Handwritten digits, 8 × 8, that scikit-learn brings: 1,437 to train on and 360 held out.

Rows are permuted by `default_rng(0)`; the first 1,437 are the training split. Pixels are multiples of 1/16 in [0, 1].
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from artifex.core.data.source import ArraySource, Transform
from artifex.core.data.spec import DataSpec
from artifex.core.errors import ConfigError

N_TRAIN = 1437
Binarise = Literal["none", "threshold", "stochastic"]


def digits(split: str = "train", *, binarise: Binarise = "none", flat: bool = False) -> ArraySource:
    """The digits with their labels.

    Args:
        binarise: leave grey levels; 1 from level 8 on; or draw each pixel anew at every step of training, and once with
            seed 0 for held-out data.
        flat: vectors of 64 instead of pictures.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.images))
    rows = order[split_rows("digits", split, N_TRAIN, len(order))]
    x = (bunch.images[rows] / 16).astype(np.float32)[..., None]
    return pictures("digits", x, bunch.target[rows].astype(np.int32), levels=17, split=split, binarise=binarise, flat=flat)


def split_rows(name: str, split: str, n_train: int, n: int) -> slice:
    """Rows of a split: train, test or all.

    Raises:
        ConfigError: another split.
    """
    splits = {"train": slice(n_train), "test": slice(n_train, n), "all": slice(n)}
    if split not in splits:
        raise ConfigError(f"{name}: expected the split train, test or all, got {split!r}.")
    return splits[split]


def pictures(
    name: str, x: np.ndarray, y: np.ndarray, *, levels: int, split: str, binarise: Binarise, flat: bool
) -> ArraySource:
    """Pictures in [0, 1] with labels as a source, binarised and flattened as asked."""
    transform: Transform | None = None
    if binarise not in ("none", "threshold", "stochastic"):
        raise ConfigError(f"{name}: expected binarise none, threshold or stochastic, got {binarise!r}.")
    if binarise == "threshold":
        x = (x >= 0.5).astype(np.float32)
    elif binarise == "stochastic" and split == "train":
        transform = draw_pixels
    elif binarise == "stochastic":
        x = (np.random.default_rng(0).random(x.shape) < x).astype(np.float32)
    if flat:
        x = x.reshape(len(x), -1)
    spec = DataSpec(
        shape=x.shape[1:],
        low=0.0,
        high=1.0,
        levels=levels if binarise == "none" else 2,
        kind="vector" if flat else "image",
        n_classes=10,
        condition_shape=(),
    )
    return ArraySource({"x": x, "y": y}, spec, name=name, transform=transform)


def draw_pixels(batch: dict[str, Array], key: Key[Array, ""]) -> dict[str, Array]:
    """The batch with each pixel 1 with the probability that its grey level is."""
    return {**batch, "x": jax.random.bernoulli(key, batch["x"]).astype(jnp.float32)}
