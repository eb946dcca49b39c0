"""Metrics as pytrees of sufficient statistics.

    state = init();  state = update(state, batch, mask) for every batch;  value = compute(state)
    merge(a, b) joins the states of two parts of the data.
Any split, order, merge tree or padding gives the same value. A row whose mask is 0 changes nothing, even if it is NaN.
A batch holds, for each row, its number in its set under `"index"`, and what the metric `needs`:

    real       features of data            fake       features of samples
    values     one number an example       pairs      data and what a model made of it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

Rows = Float[np.ndarray, "_ width"]
BLOCKS = 10  # of the jackknife: example i lies in block i mod 10, whatever shard it is on


class MetricValue(NamedTuple):
    """A value with its 95 % interval, what it is over, and remarks."""

    value: float
    ci_low: float
    ci_high: float
    n: int
    flags: tuple[str, ...] = ()


class Metric(Protocol):
    """A metric; see the module for the laws that it obeys."""

    @property
    def name(self) -> str:
        """What stands in results."""
        ...

    @property
    def version(self) -> int:
        """Raised when equal data give another value; only equal versions are compared."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """The direction."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """Entries of a batch that `update` looks at."""
        ...

    def init(self) -> Any:
        """The state of no data."""
        ...

    def update(self, state: Any, batch: Mapping[str, np.ndarray], mask: np.ndarray) -> Any:
        """The state with a batch more."""
        ...

    def merge(self, a: Any, b: Any) -> Any:
        """The state of both parts."""
        ...

    def compute(self, state: Any) -> MetricValue:
        """The value."""
        ...


class Kept(NamedTuple):
    """Rows of a set: all of them, or the `k` whose numbers hash lowest, in order of hash."""

    hashes: UInt64[np.ndarray, " row"]
    index: Int[np.ndarray, " row"]  # pyright: ignore[reportIncompatibleMethodOverride]
    rows: Rows

    @classmethod
    def none(cls) -> Kept:
        """No rows."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros((0, 0)))

    def add(self, index: Int[np.ndarray, " row"], rows: Rows, k: int) -> Kept:
        """These rows too."""
        return self.join(Kept(hashed(index), np.asarray(index, np.int64), np.asarray(rows, np.float64)), k)

    def join(self, other: Kept, k: int) -> Kept:
        """Both sets, up to k rows."""
        if not len(other.index) or not len(self.index):
            both = other if len(other.index) else self
        else:
            need_one_width("metric", self.rows.shape[1], other.rows.shape[1])
            both = Kept(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))
        order = np.lexsort((both.index, both.hashes))[:k]
        return Kept(both.hashes[order], both.index[order], both.rows[order])


def hashed(index: Int[np.ndarray, " row"]) -> UInt64[np.ndarray, " row"]:
    """Splitmix64 of row numbers: a fixed random order."""
    with np.errstate(over="ignore"):
        z = np.asarray(index).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def real_rows(values: np.ndarray, index: np.ndarray, mask: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and rows that count.

    Raises:
        ValueError: lengths differ, or a row that counts is not finite.
    """
    chosen: Bool[np.ndarray, " row"] = np.asarray(mask) > 0
    if not len(values) == len(index) == len(chosen):
        raise ValueError(
            f"metric: expected {what}, numbers and a mask of one length, got {len(values)}, {len(index)} and "
            f"{len(chosen)}. Give one of each a row."
        )
    rows = np.asarray(values)[chosen].astype(np.float64)
    if not np.isfinite(rows).all():
        raise ValueError(f"metric: expected finite {what}, got NaN or infinity. Look at the model's outputs.")
    return np.asarray(index)[chosen], rows


def need_one_width(name: str, a: int, b: int) -> None:
    """Refuse rows of two widths.

    Raises:
        ValueError: naming both.
    """
    if a != b:
        raise ValueError(
            f"{name}: expected rows of one width, got {a} and {b}. "
            "Features of data and samples come from one extractor."
        )


class TooFewRows(ValueError):
    """A metric cannot be computed from so few rows; a pipeline leaves it out and says so."""


def need_at_least(name: str, least: int, **counts: int) -> None:
    """Refuse sets that are too small.

    Raises:
        TooFewRows: naming the set and its size.
    """
    for what, n in counts.items():
        if n < least:
            raise TooFewRows(
                f"{name}: expected at least {least} rows of {what}, got {n}. Give more, or leave the metric out."
            )
