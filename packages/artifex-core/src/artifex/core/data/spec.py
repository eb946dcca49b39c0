"""What a data set is, in the words that a model needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["vector", "image", "sequence", "tokens", "points", "graph", "table"]


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Shape, dtype, range and kind of one event `"x"`, and of the condition `"y"` where there is one."""

    shape: tuple[int, ...]  # of one event, channels last
    dtype: str = "float32"
    low: float | None = None  # smallest value an entry can take; None is unbounded
    high: float | None = None  # largest value an entry can take
    levels: int | None = None  # number of equally spaced values from low to high; None is continuous
    kind: Kind = "vector"
    n_classes: int | None = None  # "y" holds integers 0 .. n_classes - 1
    condition_shape: tuple[int, ...] | None = None  # "y" holds arrays of this shape (with n_classes: None or ())


def halvings(shape: tuple[int, ...]) -> int:
    """How often both sides of pictures halve."""
    side = math.gcd(*shape[:2])
    return (side & -side).bit_length() - 1
