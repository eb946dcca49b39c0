"""Intervals of 95 %.

    bootstrap   quantiles of the mean over 2,000 resamples                                                       (1)
    Wilson      (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)                                                (2)
    jackknife   v ± t_{9} √(9/10 Σ_b (v_{−b} − v̄)²),  v_{−b} without block b of ten                             (3)
    Student     m ± t_{n−1} s / √n  over seeds                                                                   (4)

References:
    [1] Efron & Tibshirani, An Introduction to the Bootstrap, 1993
    [2] Wilson, Probable inference, the law of succession, and statistical inference, 1927
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
Z95 = 1.959963984540054
# Student's t at 97.5 % for 1 … 30 degrees of freedom (tables); beyond, the normal quantile is within 2 %.
T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


class Interval(NamedTuple):
    """Its two ends."""

    low: float
    high: float


def bootstrap(values: Float[np.ndarray, " row"], *, seed: int = 0) -> Interval:
    """Of the mean of independent values (eq. 1)."""
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    rows = max(1, 2_000_000 // len(values))  # resamples at once, so that memory stays small
    for first in range(0, RESAMPLES, rows):
        n = min(rows, RESAMPLES - first)
        means[first : first + n] = values[rng.integers(len(values), size=(n, len(values)))].mean(1)
    return Interval(*(float(q) for q in np.quantile(means, [0.025, 0.975])))


def wilson(share: float, n: int) -> Interval:
    """Of a proportion (eq. 2)."""
    centre = share + Z95**2 / (2 * n)
    half = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return Interval((centre - half) / (1 + Z95**2 / n), (centre + half) / (1 + Z95**2 / n))


def jackknife(value: float, without: Sequence[float]) -> Interval:
    """Of a value, given the values without each block (eq. 3)."""
    left = np.asarray(without)
    blocks = len(left)
    error = math.sqrt((blocks - 1) / blocks * float(((left - left.mean()) ** 2).sum()))
    return Interval(value - student_t(blocks - 1) * error, value + student_t(blocks - 1) * error)


def over_seeds(values: Sequence[float]) -> Interval:
    """Of the mean of independent runs (eq. 4)."""
    v = np.asarray(values)
    half = student_t(len(v) - 1) * float(v.std(ddof=1)) / math.sqrt(len(v))
    return Interval(float(v.mean()) - half, float(v.mean()) + half)


def student_t(degrees: int) -> float:
    """The 97.5 % quantile of Student's t."""
    return T95[degrees - 1] if degrees <= len(T95) else Z95
