import functools

import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial.distance import cdist

from artifex.core.prob.divergence import (
    cubic_kernel,
    distances,
    energy_distance,
    frechet,
    gaussian_kernel,
    inverse_multiquadratic_kernel,
    mmd,
)

KERNELS = [cubic_kernel, functools.partial(gaussian_kernel, bandwidth=0.7), inverse_multiquadratic_kernel]


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 3)), rng.normal(size=(30, 3)) * 1.2 + 0.5


def moments(x):
    return x.mean(0), np.cov(x.T)


def double_loop(x, y, of, *, unbiased):
    """Eq. 3 and 4 with loops."""

    def inner(a):
        pairs = [of(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j or not unbiased]
        return np.mean(pairs)

    return inner(x) + inner(y) - 2 * np.mean([of(a, b) for a in x for b in y])


def test_frechet_equals_scipys_matrix_root(sets):
    (m1, s1), (m2, s2) = map(moments, sets)
    expected = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * linalg.sqrtm(s1 @ s2).real)
    assert frechet(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-10)


def test_frechet_keeps_nine_digits_far_from_the_origin_in_256_dimensions():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(256, 256)) / 16
    x, y = (rng.normal(size=(1000, 256)) @ mix + 30 + shift for shift in (0, 0.1))
    (m1, s1), (m2, s2) = moments(x), moments(y)
    expected = ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * linalg.sqrtm(s1 @ s2).real)
    assert frechet(m1, s1, m2, s2) == pytest.approx(expected, rel=1e-8)


def test_frechet_of_commuting_covariances_is_the_distance_of_their_roots():
    a, b = np.diag([1.0, 4.0, 0.0]), np.diag([9.0, 1.0, 4.0])
    assert frechet(np.zeros(3), a, np.array([1.0, 2.0, 0.0]), b) == pytest.approx(5 + 4 + 1 + 4)


def test_frechet_of_a_gaussian_to_itself_is_zero(sets):
    mean, cov = moments(sets[0])
    assert frechet(mean, cov, mean, cov) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("kernel", KERNELS)
def test_mmd_equals_a_double_loop(sets, kernel, unbiased):
    of = lambda a, b: kernel(a[None], b[None])[0, 0]  # noqa: E731
    assert mmd(*sets, kernel, unbiased=unbiased) == pytest.approx(double_loop(*sets, of, unbiased=unbiased), rel=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_biased_mmd_of_a_set_to_itself_is_zero(sets, kernel):
    assert mmd(sets[0], sets[0], kernel, unbiased=False) == pytest.approx(0, abs=1e-12)


def test_unbiased_mmd_is_zero_on_average_where_the_distributions_agree():
    rng = np.random.default_rng(0)
    values = [mmd(*rng.normal(size=(2, 25, 2)), gaussian_kernel) for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20


def test_kernels_have_their_closed_forms():
    x, y = np.array([[1.0, 2.0]]), np.array([[3.0, -1.0]])
    assert cubic_kernel(x, y)[0, 0] == pytest.approx((1 / 2 + 1) ** 3)
    assert gaussian_kernel(x, y, bandwidth=2.0)[0, 0] == pytest.approx(np.exp(-13 / 8))
    assert inverse_multiquadratic_kernel(x, y)[0, 0] == pytest.approx(4 / 17)


@pytest.mark.parametrize("unbiased", [True, False])
def test_energy_distance_equals_a_double_loop(sets, unbiased):
    of = lambda a, b: -np.linalg.norm(a - b)  # noqa: E731
    assert energy_distance(*sets, unbiased=unbiased) == pytest.approx(
        double_loop(*sets, of, unbiased=unbiased), rel=1e-9
    )


def test_biased_energy_distance_of_numbers_is_scipys_squared():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=50), rng.normal(1, 2, size=70)
    expected = stats.energy_distance(x, y) ** 2
    assert energy_distance(x[:, None], y[:, None], unbiased=False) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_distances_equal_scipys_far_from_the_origin_too(sets, offset):
    x, y = sets[0] + offset, sets[1] + offset
    assert np.allclose(distances(x, y), cdist(x, y), rtol=1e-9)


def test_equal_rows_are_at_distance_zero():
    x = np.random.default_rng(0).normal(30, 1, size=(50, 200))
    assert np.abs(np.diag(distances(x, x.copy()))).max() == 0
