"""Intervals of 95 % cover the true value 95 times in 100."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from artifex.core.evaluation import intervals


def test_bootstrap_covers_the_mean():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        low, high = intervals.bootstrap(rng.exponential(1.0, 200))
        hits += low <= 1.0 <= high
    assert 0.90 <= hits / 300 <= 0.98  # 0.95 ± 4 s.e., less the skew of 200 exponentials


def test_wilson_covers_a_proportion():
    rng = np.random.default_rng(1)
    counts = rng.binomial(50, 0.1, 2000)
    hits = [intervals.wilson(c / 50, 50)[0] <= 0.1 <= intervals.wilson(c / 50, 50)[1] for c in counts]
    assert 0.93 <= np.mean(hits) <= 0.98


def test_wilson_is_scipy_s():
    found = stats.binomtest(7, 40).proportion_ci(method="wilson")
    assert tuple(intervals.wilson(7 / 40, 40)) == pytest.approx((found.low, found.high), abs=1e-9)


def test_jackknife_of_a_mean_is_student_s():
    blocks = np.random.default_rng(2).standard_normal(10)
    without = [(blocks.sum() - b) / 9 for b in blocks]
    low, high = intervals.jackknife(blocks.mean(), without)
    expected = stats.t.interval(0.95, 9, blocks.mean(), stats.sem(blocks))
    assert (low, high) == pytest.approx(expected, rel=1e-3)  # the table has four digits


def test_over_seeds_is_student_s():
    values = [1.0, 2.0, 4.0]
    assert tuple(intervals.over_seeds(values)) == pytest.approx(
        stats.t.interval(0.95, 2, np.mean(values), stats.sem(values)), rel=1e-3
    )
