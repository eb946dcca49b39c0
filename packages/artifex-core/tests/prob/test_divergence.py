"""Distances between distributions, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, stats

from artifex.core.prob import divergence


@pytest.fixture(scope="module")
def sets() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((200, 6)), 0.5 + 1.3 * rng.standard_normal((150, 6))


def test_frechet_is_scipy_s_matrix_root(sets):
    moments = [(x.mean(0), np.cov(x.T)) for x in sets]
    (m1, s1), (m2, s2) = moments
    expected = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * np.real(linalg.sqrtm(s1 @ s2)))
    assert divergence.frechet(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-8)


def test_frechet_of_a_shift_is_its_square():
    eye = np.eye(3)
    assert divergence.frechet(np.zeros(3), eye, np.array([3.0, 4.0, 0.0]), eye) == pytest.approx(25, abs=1e-9)


def test_mmd_is_the_double_loop(sets):
    x, y = sets[0][:7], sets[1][:5]
    k = lambda a, b: (a @ b / 6 + 1) ** 3  # noqa: E731
    xx = np.mean([k(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    yy = np.mean([k(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert divergence.mmd(x, y) == pytest.approx(xx + yy - 2 * xy, rel=1e-10)


def test_mmd_of_one_distribution_is_zero_in_the_mean():
    rng = np.random.default_rng(1)
    values = [divergence.mmd(*rng.standard_normal((2, 50, 2)), divergence.gaussian_kernel) for _ in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)


def test_energy_distance_in_one_dimension_is_scipy_s(sets):
    x, y = sets[0][:, :1], sets[1][:, :1]
    n, m = len(x), len(y)
    # scipy's is the square root of the biased form.
    gap = divergence.distances(x, x).sum() / (n * n * (n - 1)) + divergence.distances(y, y).sum() / (m * m * (m - 1))
    biased = divergence.energy_distance(x, y) + gap
    assert np.sqrt(biased) == pytest.approx(stats.energy_distance(x[:, 0], y[:, 0]), rel=1e-8)


def test_equal_rows_are_at_distance_zero(sets):
    rows = 1000 + sets[0]
    assert divergence.distances(rows, rows).diagonal().max() == 0.0
    brute = np.linalg.norm(rows[:20, None] - rows[None, :20], axis=-1)
    np.testing.assert_allclose(divergence.distances(rows[:20], rows[:20]), brute, atol=1e-6)
