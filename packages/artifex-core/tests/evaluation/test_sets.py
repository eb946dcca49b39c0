import numpy as np
import pytest

from artifex.core.evaluation.metric import TooFewRows
from artifex.core.evaluation.sets import Pairs, SetMetric


def products(x, y):
    return x @ y.T


def across(pairs):
    return float(pairs.across.mean())


METRIC = SetMetric(name="mean", pairwise=products, value=across, higher_is_better=True)


def computed(real, fake, metric=METRIC):
    state = metric.init()
    for side, rows in (("real", real), ("fake", fake)):
        state = metric.update(state, {side: rows, "index": np.arange(len(rows))}, np.ones(len(rows)))
    return metric.compute(state)


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    return rng.normal(1, 1, size=(50, 3)), rng.normal(1, 1, size=(40, 3))


def test_the_value_is_that_of_all_pairs(sets):
    found = computed(*sets)
    assert found.value == pytest.approx(sets[0].mean(0) @ sets[1].mean(0))
    assert found.n == 40


def test_the_jackknife_leaves_out_every_tenth_example_of_both_sets(sets):
    found = computed(*sets)
    tenth = lambda x, b: x[np.arange(len(x)) % 10 != b].mean(0)  # noqa: E731
    without = np.array([tenth(sets[0], b) @ tenth(sets[1], b) for b in range(10)])
    half = 2.262 * np.sqrt(0.9 * ((without - without.mean()) ** 2).sum())
    assert found.ci_high - found.value == pytest.approx(half)
    assert found.value - found.ci_low == pytest.approx(half)


def test_beyond_the_most_rows_a_fixed_random_part_stands_for_all(sets):
    small = SetMetric(name="mean", pairwise=products, value=across, higher_is_better=True, most=30)
    found = computed(*sets, small)
    assert found.n == 30
    assert found.flags == ("first 30 rows by hash",)
    assert found.value == pytest.approx(computed(*sets).value, rel=0.3)  # of 30 rows
    assert found == computed(*sets, small)


def test_an_interval_ends_where_the_value_can_not_go(sets):
    bounded = SetMetric(name="mean", pairwise=products, value=across, higher_is_better=True, least=2.9, largest=3.0)
    assert computed(*sets, bounded)[1:3] == (2.9, 3.0)


def test_kept_pairs_are_the_pairs_of_kept_rows(sets):
    x, y = sets
    a, b = np.arange(50) % 3 == 0, np.arange(40) % 2 == 0
    found = Pairs(products(x, x), products(y, y), products(x, y)).keep(a, b)
    assert np.allclose(found.real, products(x[a], x[a]))
    assert np.allclose(found.fake, products(y[b], y[b]))
    assert np.allclose(found.across, products(x[a], y[b]))


@pytest.mark.parametrize("n", [0, 1, 19])
def test_sets_too_small_for_ten_blocks_are_refused(sets, n):
    with pytest.raises(TooFewRows, match=f"mean: expected at least 20 rows of samples, got {n}"):
        computed(sets[0], sets[1][:n])


def test_features_of_two_widths_are_refused(sets):
    with pytest.raises(ValueError, match="mean: expected rows of one width, got 3 and 2"):
        computed(sets[0], sets[1][:, :2])
