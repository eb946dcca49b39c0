"""What an evaluation gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from artifex.core.evaluation.metric import Metric, MetricValue


class Result(NamedTuple):
    """One metric's value."""

    metric: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    data: str
    extractor: str | None
    higher_is_better: bool
    version: int
    flags: tuple[str, ...] = ()
    params: tuple[tuple[str, int], ...] = ()  # what else the value depends on: samples drawn, version of the extractor

    @classmethod
    def of(cls, name: str, value: MetricValue, metric: Metric, data: str) -> Result:
        """The value of a metric on some data, without an extractor."""
        return cls(name, *value[:4], data, None, metric.higher_is_better, metric.version, value.flags)


class EvaluationResult(NamedTuple):
    """All values, what was left out and why, and what was evaluated."""

    results: tuple[Result, ...]
    skipped: tuple[tuple[str, str], ...]
    provenance: Mapping[str, Any]
    samples: np.ndarray | None = None
    reconstructions: tuple[np.ndarray, np.ndarray] | None = None  # data and what the model makes of them
    span: tuple[float, float] = (0.0, 1.0)  # smallest and largest value an entry of the data can take
