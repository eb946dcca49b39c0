import numpy as np
import pytest
from scipy.spatial.distance import cdist

from artifex.core.evaluation.kernel import EnergyDistance, KernelDistance


def computed(metric, real, fake):
    state = metric.init()
    for side, rows in (("real", real), ("fake", fake)):
        state = metric.update(state, {side: rows, "index": np.arange(len(rows))}, np.ones(len(rows)))
    return metric.compute(state)


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 3)), rng.normal(0.7, 1, size=(50, 3))


def off_diagonal(matrix):
    return matrix[~np.eye(len(matrix), dtype=bool)].mean()


def test_kernel_distance_is_the_unbiased_mmd_of_the_cubic_kernel(sets):
    x, y = sets
    kernel = lambda a, b: (a @ b.T / 3 + 1) ** 3  # noqa: E731
    expected = off_diagonal(kernel(x, x)) + off_diagonal(kernel(y, y)) - 2 * kernel(x, y).mean()
    assert computed(KernelDistance(), x, y).value == pytest.approx(expected, rel=1e-10)


def test_energy_distance_is_that_of_scipys_distances(sets):
    x, y = sets
    expected = 2 * cdist(x, y).mean() - off_diagonal(cdist(x, x)) - off_diagonal(cdist(y, y))
    assert computed(EnergyDistance(), x, y).value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("make", [KernelDistance, EnergyDistance])
def test_the_interval_holds_zero_where_the_distributions_agree_and_not_where_they_differ(make):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 300, 2))
    same, other = computed(make(), x, y), computed(make(), x, y + 1)
    assert same.ci_low < 0 < same.ci_high
    assert other.ci_low > 0
