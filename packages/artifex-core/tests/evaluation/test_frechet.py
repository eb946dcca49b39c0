import numpy as np
import pytest
from scipy import linalg

from artifex.core.evaluation.frechet import NOTHING, FrechetDistance, moments
from artifex.core.evaluation.metric import TooFewRows


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    return rng.normal(30, 1, size=(200, 4)), rng.normal(30.5, 1.5, size=(150, 4))


def computed(real, fake, dtype=np.float64):
    metric = FrechetDistance()
    state = metric.init()
    for side, rows in (("real", real), ("fake", fake)):
        state = metric.update(state, {side: rows.astype(dtype), "index": np.arange(len(rows))}, np.ones(len(rows)))
    return metric.compute(state)


def by_scipy(x, y):
    s1, s2 = np.cov(x.T), np.cov(y.T)
    gap = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return gap + np.trace(s1 + s2 - 2 * linalg.sqrtm(s1 @ s2).real)


def test_the_distance_equals_scipys(sets):
    assert computed(*sets).value == pytest.approx(by_scipy(*sets), rel=1e-9)


def test_features_in_float32_keep_six_digits(sets):
    assert computed(*sets, np.float32).value == pytest.approx(by_scipy(*sets), rel=1e-5)


def test_joined_moments_are_those_of_all_rows(sets):
    x = sets[0]
    joined = moments(x[:7]).join(moments(x[7:120])).join(NOTHING).join(moments(x[120:]))
    assert joined.n == 200
    assert np.allclose(joined.mean, x.mean(0), rtol=1e-13)
    assert np.allclose(joined.covariance(), np.cov(x.T), rtol=1e-10)


@pytest.mark.slow
def test_the_interval_holds_a_value_from_fresh_rows_nine_times_in_ten():
    rng = np.random.default_rng(0)
    truth = np.mean([computed(rng.normal(size=(400, 2)), rng.normal(0.5, 1, size=(400, 2))).value for _ in range(40)])
    found = [computed(rng.normal(size=(400, 2)), rng.normal(0.5, 1, size=(400, 2))) for _ in range(200)]
    covered = np.mean([value.ci_low <= truth <= value.ci_high for value in found])
    assert covered == pytest.approx(0.95, abs=0.05)  # 200 trials leave 1.5 %, the mean of 40 some more


def test_fewer_rows_than_features_are_flagged():
    rng = np.random.default_rng(0)
    assert computed(rng.normal(size=(30, 40)), rng.normal(size=(30, 40))).flags == ("rank deficient",)
    assert computed(rng.normal(size=(60, 40)), rng.normal(size=(60, 40))).flags == ()


def test_sets_that_do_not_fit_are_refused(sets):
    with pytest.raises(ValueError, match="FD: expected rows of one width, got 4 and 3"):
        computed(sets[0], sets[1][:, :3])
    with pytest.raises(TooFewRows, match="FD: expected at least 20 rows of samples, got 1"):
        computed(sets[0], sets[1][:1])
    with pytest.raises(TooFewRows, match="FD: expected at least 20 rows of data, got 0"):
        FrechetDistance().compute(FrechetDistance().init())
    with pytest.raises(ValueError, match="expected finite fake features"):
        computed(sets[0], np.full((30, 4), np.nan))


def test_batches_of_two_widths_are_refused(sets):
    metric = FrechetDistance()
    state = metric.update(metric.init(), {"real": sets[0], "index": np.arange(200)}, np.ones(200))
    with pytest.raises(ValueError, match="FD: expected rows of one width, got 4 and 2"):
        metric.update(state, {"real": sets[0][:, :2], "index": np.arange(200)}, np.ones(200))
