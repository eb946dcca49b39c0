"""Benchmarks: one model on several data sets, several models on one benchmark.

    value     m̄ over seeds of the evaluation's noise
    interval  m̄ ± max(t_{n−1} s/√n, h̄): Student's over the n seeds, but no narrower than the mean half width h̄ of a
              single evaluation, which knows that the data are finite                                            (1)
    compare   z = 1.96 (a − b) / √(h_a² + h_b²),  p = erfc(|z|/√2)                                               (2)
Over all comparisons of a suite a difference is kept where p survives Benjamini and Hochberg at 5 %:
    p_(i) ≤ 0.05 i / m  for some rank at or above its own.                                                       (3)

References:
    [1] Benjamini & Hochberg, Controlling the False Discovery Rate, 1995
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from artifex.core.evaluation.intervals import Z95, over_seeds
from artifex.core.evaluation.ledger import Ledger
from artifex.core.evaluation.pipeline import EvaluationPipeline
from artifex.core.evaluation.result import Result
from artifex.core.evaluation.verdict import Measured, Verdict, judge
from artifex.core.model import GenerativeModel

FALSE_DISCOVERIES = 0.05


class Benchmark(NamedTuple):
    """A versioned question: any change of it is a new version."""

    name: str
    version: int
    data: Any  # a source, or an array
    metrics: tuple[str, ...]
    n_samples: int | None = None

    @property
    def key(self) -> str:
        """`mnist-uncond@1`."""
        return f"{self.name}@{self.version}"


class Score(NamedTuple):
    """A metric over seeds (eq. 1)."""

    metric: str
    measured: Measured
    n_seeds: int
    higher_is_better: bool


class BenchmarkResult(NamedTuple):
    """A model's scores by metric, and what was left out."""

    scores: Mapping[str, Score]
    skipped: tuple[tuple[str, str], ...]


class Pair(NamedTuple):
    """Model `b` against model `a`."""

    benchmark: str
    metric: str
    a: str
    b: str
    verdict: Verdict


class ComparisonResult(NamedTuple):
    """Every model on every benchmark, and each pair of models by metric."""

    results: Mapping[tuple[str, str], BenchmarkResult]  # by benchmark and model
    pairs: tuple[Pair, ...]


class BenchmarkSuite:
    """Benchmarks that are run together.

    Args:
        seeds: of the evaluations' noise, not of training.
    """

    def __init__(
        self, benchmarks: Sequence[Benchmark] = (), *, ledger: Ledger | None = None, seeds: Sequence[int] = (0, 1, 2)
    ) -> None:
        if len(seeds) < 2:
            raise ValueError(f"BenchmarkSuite: expected at least 2 seeds, got {list(seeds)}. One has no spread.")
        self.benchmarks, self.ledger, self.seeds = tuple(benchmarks), ledger, tuple(seeds)

    def run_benchmark(
        self, model: GenerativeModel, dataset: Any, metrics: Sequence[str], *, n_samples: int | None = None
    ) -> BenchmarkResult:
        """Scores of one model on one data set."""
        runs = [
            EvaluationPipeline(metrics, n_samples=n_samples, seed=seed, ledger=self.ledger).evaluate(model, dataset)
            for seed in self.seeds
        ]
        columns = zip(*(run.results for run in runs), strict=True)
        return BenchmarkResult({rows[0].metric: score(rows) for rows in columns}, runs[0].skipped)

    def compare_models(self, models: Mapping[str, GenerativeModel]) -> ComparisonResult:
        """All models on all benchmarks, with verdicts that allow for their number (eq. 3)."""
        results = {
            (b.key, name): self.run_benchmark(model, b.data, b.metrics, n_samples=b.n_samples)
            for b in self.benchmarks
            for name, model in models.items()
        }
        drafts = [
            (Pair(b.key, metric, first, second, "same"), one, other)
            for b in self.benchmarks
            for first, second in itertools.combinations(models, 2)
            for metric, one in results[b.key, first].scores.items()
            if (other := results[b.key, second].scores.get(metric)) is not None
        ]
        found = discoveries(np.array([p_value(one.measured, other.measured) for _, one, other in drafts]))
        pairs = tuple(
            pair._replace(verdict=judge(one.measured, other.measured, higher_is_better=one.higher_is_better))
            if kept
            else pair
            for (pair, one, other), kept in zip(drafts, found, strict=True)
        )
        return ComparisonResult(results, pairs)


def score(rows: Sequence[Result]) -> Score:
    """One metric over seeds (eq. 1)."""
    value = float(np.mean([row.value for row in rows]))
    spread = over_seeds([row.value for row in rows])
    single = float(np.mean([(row.ci_high - row.ci_low) / 2 for row in rows]))
    half = max((spread.high - spread.low) / 2, single)
    return Score(rows[0].metric, Measured(value, value - half, value + half), len(rows), rows[0].higher_is_better)


def p_value(a: Measured, b: Measured) -> float:
    """Two-sided, of no difference (eq. 2)."""
    noise = math.hypot(a.half, b.half)
    if noise == 0:
        return float(a.value == b.value)
    return math.erfc(Z95 * abs(a.value - b.value) / noise / math.sqrt(2))


def discoveries(p: Float[np.ndarray, " test"]) -> Bool[np.ndarray, " test"]:
    """Which tests stay when one in twenty of those kept may be false (eq. 3)."""
    order = np.argsort(p)
    good = np.flatnonzero(p[order] <= FALSE_DISCOVERIES * np.arange(1, len(p) + 1) / max(len(p), 1))
    kept = np.zeros(len(p), bool)
    kept[order[: good[-1] + 1 if len(good) else 0]] = True
    return kept
