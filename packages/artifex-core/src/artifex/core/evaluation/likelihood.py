"""Means of per-example values: log-likelihoods, their bounds, reconstruction errors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from artifex.core.evaluation.intervals import bootstrap
from artifex.core.evaluation.metric import Kept, MetricValue, need_at_least, real_rows


class PerExample:
    """The mean of one number an example, with a bootstrap interval."""

    version = 1
    needs = frozenset({"values"})

    def __init__(self, name: str, *, higher_is_better: bool) -> None:
        self.name, self.higher_is_better = name, higher_is_better

    def init(self) -> Kept:
        """No examples."""
        return Kept.none()

    def update(self, state: Kept, batch: Mapping[str, np.ndarray], mask: np.ndarray) -> Kept:
        """These examples too."""
        index, values = real_rows(batch["values"], batch["index"], mask, self.name)
        return state.add(index, values[:, None], np.iinfo(np.int64).max)

    def merge(self, a: Kept, b: Kept) -> Kept:
        """Both parts."""
        return a.join(b, np.iinfo(np.int64).max)

    def compute(self, state: Kept) -> MetricValue:
        """The mean."""
        need_at_least(self.name, 2, data=len(state.index))
        values = state.rows[:, 0]
        interval = bootstrap(values)
        return MetricValue(float(values.mean()), interval.low, interval.high, len(values))


def Scores() -> PerExample:
    """A log-likelihood or a bound, in nats; the pipeline names it after the model's score."""
    return PerExample("scores", higher_is_better=True)


def Reconstruction() -> PerExample:
    """Squared error of decode(encode(x)), the mean over entries."""
    return PerExample("reconstruction", higher_is_better=False)
