"""Means of per-example values, each with a bootstrap interval.

scores         log-likelihoods or bounds of them that a model gives by name, nats
nll            −log p(x), nats                                                                               (1)
bits_per_dim   −log p(x) / (D log 2), D entries of an example in levels                                      (2)
reconstruction squared error of decode(encode(x)), the mean over entries                                     (3)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from artifex.core.evaluation.intervals import bootstrap
from artifex.core.evaluation.metric import Kept, MetricValue, need_at_least, real_rows

ALL = np.iinfo(np.int64).max


@dataclass(frozen=True, kw_only=True)
class PerExample:
    """The mean of one number an example."""

    name: str
    higher_is_better: bool
    version: int = 1
    needs: frozenset[str] = frozenset({"values"})

    def init(self) -> Kept:
        """No examples."""
        return Kept.none()

    def update(self, state: Kept, batch: Mapping[str, np.ndarray], mask: np.ndarray) -> Kept:
        """These examples too."""
        index, values = real_rows(batch["values"], batch["index"], mask, self.name)
        return state.add(index, values[:, None], ALL)

    def merge(self, a: Kept, b: Kept) -> Kept:
        """Both parts."""
        return a.join(b, ALL)

    def compute(self, state: Kept) -> MetricValue:
        """The mean."""
        need_at_least(self.name, 2, data=len(state.index))
        values = state.rows[:, 0]
        interval = bootstrap(values)
        return MetricValue(float(values.mean()), interval.low, interval.high, len(values))


def Scores() -> PerExample:
    """A log-likelihood or a bound, in nats; the pipeline names it after the model's score."""
    return PerExample(name="scores", higher_is_better=True)


def NegativeLogLikelihood() -> PerExample:
    """−log p(x) in nats (eq. 1)."""
    return PerExample(name="nll", higher_is_better=False)


def BitsPerDim() -> PerExample:
    """−log p(x) in bits an entry (eq. 2)."""
    return PerExample(name="bits_per_dim", higher_is_better=False)


def Reconstruction() -> PerExample:
    """Mean squared error (eq. 3)."""
    return PerExample(name="reconstruction", higher_is_better=False)
