"""Metrics that need all rows: up to k rows of data and of samples, chosen by hash, and what all pairs of them say.

D_xx, D_yy, D_xy    a function of pairs (distance, kernel) within the data, within the samples, and across
value               a function of these three matrices
jackknife           the same without block b of ten: submatrices, nothing is computed twice
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from artifex.core.evaluation.intervals import jackknife
from artifex.core.evaluation.metric import (
    BLOCKS,
    Kept,
    MetricValue,
    Rows,
    need_at_least,
    need_one_width,
    real_rows,
)

Matrix = Float[np.ndarray, "a b"]


class Pairs(NamedTuple):
    """A function of pairs: within the data, within the samples, and of data (rows) with samples (columns)."""

    real: Float[np.ndarray, "real real"]
    fake: Float[np.ndarray, "fake fake"]
    across: Float[np.ndarray, "real fake"]

    def keep(self, real: Bool[np.ndarray, " real"], fake: Bool[np.ndarray, " fake"]) -> Pairs:
        """Those between some of the rows."""
        return Pairs(self.real[np.ix_(real, real)], self.fake[np.ix_(fake, fake)], self.across[np.ix_(real, fake)])


class State(NamedTuple):
    """Rows of data and of samples."""

    real: Kept
    fake: Kept


@dataclass(frozen=True, kw_only=True)
class SetMetric:
    """A metric of two sets of features; exact up to `most` rows each."""

    name: str
    pairwise: Callable[[Rows, Rows], Matrix]
    value: Callable[[Pairs], float]
    higher_is_better: bool
    least: float = -math.inf  # that the value can be; its interval ends there
    largest: float = math.inf
    most: int = 5000  # rows that are kept
    version: int = 1
    needs: frozenset[str] = frozenset({"real", "fake"})

    def init(self) -> State:
        """No rows."""
        return State(Kept.none(), Kept.none())

    def update(self, state: State, batch: Mapping[str, np.ndarray], mask: np.ndarray) -> State:
        """These rows too."""
        sides = state._asdict()
        for side in self.needs & batch.keys():
            index, rows = real_rows(batch[side], batch["index"], mask, f"{side} features")
            sides[side] = sides[side].add(index, rows, self.most)
        return State(**sides)

    def merge(self, a: State, b: State) -> State:
        """Both parts."""
        return State(a.real.join(b.real, self.most), a.fake.join(b.fake, self.most))

    def compute(self, state: State) -> MetricValue:
        """The value with its jackknife interval."""
        real, fake = state.real, state.fake
        n = min(len(real.index), len(fake.index))
        need_at_least(self.name, 2 * BLOCKS, data=len(real.index), samples=len(fake.index))
        need_one_width(self.name, real.rows.shape[1], fake.rows.shape[1])
        x, y = real.rows, fake.rows
        pairs = Pairs(self.pairwise(x, x), self.pairwise(y, y), self.pairwise(x, y))
        value = self.value(pairs)
        without = (pairs.keep(real.index % BLOCKS != b, fake.index % BLOCKS != b) for b in range(BLOCKS))
        interval = jackknife(value, [self.value(block) for block in without])
        low, high = max(self.least, interval.low), min(self.largest, interval.high)
        flags = (f"first {self.most} rows by hash",) if n == self.most else ()
        return MetricValue(value, low, high, n, flags)
