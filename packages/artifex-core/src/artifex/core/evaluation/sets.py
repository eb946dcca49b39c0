"""The state of metrics that need all rows: up to k rows of data and of samples, chosen by hash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from artifex.core.evaluation.intervals import jackknife
from artifex.core.evaluation.metric import BLOCKS, Kept, MetricValue, Rows, need_at_least, real_rows

MOST_ROWS = 5000


class State(NamedTuple):
    """Rows of data and of samples."""

    real: Kept
    fake: Kept


class SetMetric:
    """A function of two sets of features; exact up to `k` rows each.

    Args:
        value: the metric of (data, samples).
        least: rows that it needs of each.
    """

    version = 1
    needs = frozenset({"real", "fake"})

    def __init__(
        self,
        name: str,
        value: Callable[[Rows, Rows], float],
        *,
        higher_is_better: bool,
        least: int = 20,
        k: int = MOST_ROWS,
    ) -> None:
        self.name, self.value, self.higher_is_better, self.least, self.k = name, value, higher_is_better, least, k

    def init(self) -> State:
        """No rows."""
        return State(Kept.none(), Kept.none())

    def update(self, state: State, batch: Mapping[str, np.ndarray], mask: np.ndarray) -> State:
        """These rows too."""
        sides = state._asdict()
        for side in self.needs & batch.keys():
            index, rows = real_rows(batch[side], batch["index"], mask, f"{side} features")
            sides[side] = sides[side].add(index, rows, self.k)
        return State(**sides)

    def merge(self, a: State, b: State) -> State:
        """Both parts."""
        return State(a.real.join(b.real, self.k), a.fake.join(b.fake, self.k))

    def compute(self, state: State) -> MetricValue:
        """The value with its jackknife interval."""
        real, fake = state.real, state.fake
        n = min(len(real.index), len(fake.index))
        need_at_least(self.name, self.least, data=len(real.index), sample=len(fake.index))
        if real.rows.shape[1] != fake.rows.shape[1]:
            raise ValueError(
                f"{self.name}: expected features of one width, got {real.rows.shape} and {fake.rows.shape}."
            )
        value = self.value(real.rows, fake.rows)
        without = [
            self.value(real.rows[real.index % BLOCKS != b], fake.rows[fake.index % BLOCKS != b]) for b in range(BLOCKS)
        ]
        interval = jackknife(value, without)
        flags = (f"first {self.k} rows by hash",) if n == self.k else ()
        return MetricValue(value, interval.low, interval.high, n, flags)
