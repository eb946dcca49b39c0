"""Handwritten digits, 8 × 8, that scikit-learn brings: 1,437 to train on and 360 held out.

Rows are permuted by `default_rng(0)`; the first 1,437 are the training split. Pixels are multiples of 1/16 in [0, 1].
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from artifex.core.data.pictures import Binarise, labelled_pictures
from artifex.core.data.source import ArraySource
from artifex.core.data.split import split_rows
from artifex.core.errors import MissingDependency

N_TRAIN = 1437
LEVELS = 17  # 0/16 to 16/16


def digits(split: str = "train", *, binarise: Binarise = "none", flat: bool = False) -> ArraySource:
    """The digits with their labels, [8, 8, 1].

    Args:
        binarise: leave grey levels; 1 from level 8 on; or draw each pixel (see `pictures`).
        flat: vectors of 64 instead of pictures.
    """
    table = digits_table()
    order = np.random.default_rng(0).permutation(len(table))
    rows = table[order[split_rows("digits", split, N_TRAIN, len(order))]]
    return labelled_pictures(
        (rows[:, :64] / 16).astype(np.float32).reshape(-1, 8, 8, 1),
        rows[:, 64].astype(np.int32),
        name="digits",
        levels=LEVELS,
        binarise=binarise,
        flat=flat,
        fresh=split != "test",
    )


def digits_table() -> Float[np.ndarray, "row 65"]:
    """64 levels from 0 to 16 and the digit, in the order of scikit-learn."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise MissingDependency(
            "digits: expected scikit-learn, which brings the data, got none. Run: pip install scikit-learn"
        )
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():  # importing sklearn.datasets for this one file costs two seconds
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    return np.column_stack([bunch.data, bunch.target])
