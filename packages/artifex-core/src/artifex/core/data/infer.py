"""The spec that arrays themselves suggest.

Bounds are claimed only where the arrays say so: by an integer type of 8 bits, by booleans, or by pictures whose numbers
fill one of the two customary ranges, [0, 1] and [−1, 1]. Everything else is unbounded, since the largest number in a
sample is no bound of what it was drawn from.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from artifex.core.data.spec import DataSpec, Kind

CHANNELS = (1, 3, 4)  # grey, colour, colour with opacity


def infer_spec(arrays: Mapping[str, np.ndarray]) -> DataSpec:
    """The spec of `"x"`, and of `"y"` where it is there."""
    x, y = arrays["x"], arrays.get("y")
    kind = infer_kind(x)
    low, high, levels = infer_range(x, kind)
    return DataSpec(
        shape=x.shape[1:],
        dtype=str(x.dtype),
        low=low,
        high=high,
        levels=levels,
        kind=kind,
        n_classes=None if y is None else infer_classes(y),
        condition_shape=None if y is None else y.shape[1:],
    )


def infer_kind(x: np.ndarray) -> Kind:
    """Pictures [row, height, width, channel], sequences [row, time, channel], tokens [row, time] of int32, vectors."""
    if x.ndim == 4 and x.shape[-1] in CHANNELS:
        return "image"
    if x.ndim == 3:
        return "sequence"
    return "tokens" if x.ndim == 2 and x.dtype == np.int32 else "vector"


def infer_range(x: np.ndarray, kind: Kind) -> tuple[float | None, float | None, int | None]:
    """Lowest and highest possible number, and how many levels there are."""
    if x.dtype == bool:
        return 0.0, 1.0, 2
    if x.dtype == np.uint8:
        return 0.0, 255.0, 256
    if kind == "image" and x.dtype.kind == "f":
        least, most = float(x.min()), float(x.max())
        for low in (0.0, -1.0):
            if low <= least and most <= 1.0:
                return low, 1.0, None
    return None, None, None


def infer_classes(y: np.ndarray) -> int | None:
    """One more than the largest label, where y holds one whole number from 0 on for each row."""
    whole = y.ndim == 1 and y.dtype.kind in "iu" and int(y.min()) >= 0
    return int(y.max()) + 1 if whole else None
