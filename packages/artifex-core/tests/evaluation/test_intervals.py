import numpy as np
import pytest
from scipy import stats

from artifex.core.evaluation.intervals import bootstrap, jackknife, over_seeds, student_t, wilson

TRIALS = 2000
# 95 % of 2,000 with a standard error of 0.5 %: 93 to 97 % is four of them.
LOWEST, HIGHEST = 0.93, 0.97


def covered(intervals, truth):
    """The share of intervals that hold the truth."""
    return np.mean([low <= truth <= high for low, high in intervals])


def test_bootstrap_intervals_cover_the_mean():
    rng = np.random.default_rng(0)
    intervals = (bootstrap(rng.normal(2.0, 3.0, size=60), seed=i) for i in range(TRIALS))
    assert LOWEST <= covered(intervals, 2.0) <= HIGHEST


def test_the_bootstrap_is_near_the_normal_interval_of_a_large_sample():
    values = np.random.default_rng(0).normal(size=5000)
    low, high = bootstrap(values)
    half = 1.96 * values.std() / np.sqrt(5000)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)  # 2,000 resamples leave 4 % of the half width
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_bootstrap_repeats_itself_and_is_a_point_for_equal_values():
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(np.full(10, 3.0)) == (3.0, 3.0)


def test_resampling_in_chunks_gives_quantiles_of_all_resamples():
    values = np.random.default_rng(0).exponential(size=3001)  # 666 resamples at once
    means = np.random.default_rng(1).choice(values, (4000, 3001)).mean(1)
    assert np.allclose(bootstrap(values), np.quantile(means, [0.025, 0.975]), rtol=0.01)


@pytest.mark.parametrize("p", [0.05, 0.4, 0.9])
def test_wilson_intervals_cover_the_proportion(p):
    n = 200
    shares = np.random.default_rng(0).binomial(n, p, TRIALS) / n
    assert LOWEST <= covered((wilson(share, n) for share in shares), p) <= HIGHEST + 0.005  # counts are discrete


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (50, 50)])
def test_wilson_equals_scipys(count, n):
    expected = stats.binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert np.allclose(wilson(count / n, n), expected, atol=1e-12)


def test_jackknife_intervals_cover_the_mean():
    rng = np.random.default_rng(0)

    def interval():
        blocks = rng.normal(1.0, 2.0, size=(10, 8))
        without = [np.delete(blocks, b, 0).mean() for b in range(10)]
        return jackknife(blocks.mean(), without)

    assert LOWEST <= covered((interval() for _ in range(TRIALS)), 1.0) <= HIGHEST


def test_the_jackknife_of_a_mean_of_blocks_is_students_interval():
    values = np.random.default_rng(0).normal(size=10)
    without = [np.delete(values, b).mean() for b in range(10)]
    assert np.allclose(jackknife(values.mean(), without), over_seeds(values), rtol=1e-12)


def test_intervals_over_seeds_cover_the_mean_and_equal_scipys():
    rng = np.random.default_rng(0)
    assert LOWEST <= covered((over_seeds(rng.normal(size=3)) for _ in range(TRIALS)), 0.0) <= HIGHEST
    values = rng.normal(size=5)
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert np.allclose(over_seeds(values), expected, rtol=1e-3)  # the table has three decimals


@pytest.mark.parametrize("degrees", [1, 2, 9, 30, 31, 200])
def test_students_quantiles_are_scipys(degrees):
    assert student_t(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-3 if degrees <= 30 else 0.04)
