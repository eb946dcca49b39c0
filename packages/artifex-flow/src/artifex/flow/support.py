"""What data a density can describe, and refusals that name what does not fit.

A density needs continuous numbers: where a column repeats few values its density at them grows without bound, and no
likelihood ranks models any more. A column whose values are distinct in fewer than 1 % of the rows is refused (1).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Num

from artifex.core.data.spec import DataSpec

LEAST_DISTINCT = 0.01  # of the rows looked at (1)
Bounds = tuple[float, float]


def check_shape(where: str, event: tuple[int, ...], spec: DataSpec) -> None:
    """Refuse data of another shape."""
    if spec.shape != event:
        flat = len(event) < len(spec.shape)
        way_out = "Flatten it (flat: true), or take a recipe for pictures" if flat else "Set the config's shape to it"
        raise ValueError(f"{where}: expected data of shape {event}, got {spec.shape}. {way_out}.")


def check_levels(where: str, levels: int | None, spec: DataSpec) -> None:
    """Refuse discrete data without noise between the `levels` of the model, and noise where there are no levels."""
    found = spec.levels if spec.levels is not None else None if spec.dtype.startswith("float") else "integer"
    if levels is None and found is not None:
        raise ValueError(
            f"{where}: expected continuous data, got {found} levels. A density of discrete values grows without bound; "
            "choose a recipe that dequantises, or add noise to the data."
        )
    if levels is not None and found != levels:
        raise ValueError(
            f"{where}: expected data of {levels} levels, got "
            f"{'continuous data, perhaps dequantised before' if found is None else found}. "
            "Let the recipe dequantise, once, and set its levels to those of the data."
        )
    if levels is not None and (spec.low, spec.high) != (0, 1):
        raise ValueError(f"{where}: expected data in [0, 1], got [{spec.low}, {spec.high}]. Scale the data.")


def check_condition(where: str, width: int, spec: DataSpec) -> None:
    """Refuse conditions of another width."""
    if width and spec.n_classes != width and spec.condition_shape != (width,):
        found = spec.n_classes or spec.condition_shape
        raise ValueError(
            f"{where}: expected conditions y of {width} classes or of shape {(width,)}, got {found}. "
            f"{'Set model.context_dim to those of the data.' if found else 'Choose data with conditions.'}"
        )


def check_bounds(where: str, x: Num[np.ndarray, "row ..."], bounds: Bounds) -> None:
    """Refuse numbers outside the support."""
    low, high = bounds
    slack = 1e-6 * (high - low)  # a float32 of π is above π
    outside = (x < low - slack) | (x > high + slack)
    if outside.any():
        raise ValueError(
            f"{where}: expected numbers in [{low:.4g}, {high:.4g}], got {outside.mean():.2%} of them outside, from "
            f"{x.min():.4g} to {x.max():.4g}. Rescale the data, or bring angles back by adding multiples of 2π."
        )


def check_distinct(where: str, x: Num[np.ndarray, "row ..."]) -> None:
    """Refuse a column that repeats few values (1)."""
    for column, values in enumerate(x.reshape(len(x), -1).T):
        distinct = len(np.unique(values))
        if distinct < LEAST_DISTINCT * len(x):
            raise ValueError(
                f"{where}: expected continuous columns, got {distinct} distinct values in {len(x)} rows of column "
                f"{column}. Its density grows without bound; leave the column out, or add noise to it."
            )
