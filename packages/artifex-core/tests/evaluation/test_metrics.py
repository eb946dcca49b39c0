"""Metrics: the laws of their states, and their values against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from artifex.core.evaluation import manifold
from artifex.core.evaluation.frechet import FrechetDistance
from artifex.core.evaluation.likelihood import PerExample
from artifex.core.evaluation.registry import MetricsRegistry

PAIRS = ("FD", "KD", "energy", "precision", "recall", "density", "coverage")
RNG = np.random.default_rng(0)
REAL, FAKE = RNG.standard_normal((60, 3)), 0.3 + 1.2 * RNG.standard_normal((45, 3))


def fill(metric, side: str, rows: np.ndarray, order: np.ndarray, cuts: list[int]):
    """A state from rows in some order, cut into batches, each padded with NaN rows that are masked."""
    state = metric.init()
    for part in np.split(order, cuts):
        padded = np.concatenate([rows[part], np.full((2, *rows.shape[1:]), np.nan)])
        batch = {side: padded, "index": np.concatenate([part, [0, 1]])}
        state = metric.update(state, batch, np.concatenate([np.ones(len(part)), np.zeros(2)]))
    return state


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_any_order_split_and_padding_gives_the_same_value(name, seed, cuts):
    metric = MetricsRegistry().get(name)
    rng = np.random.default_rng(seed)
    plain = metric.merge(fill(metric, "real", REAL, np.arange(60), []), fill(metric, "fake", FAKE, np.arange(45), []))
    real = fill(metric, "real", REAL, rng.permutation(60), sorted(cuts))
    fake = fill(metric, "fake", FAKE, rng.permutation(45), sorted(min(cut, 45) for cut in cuts))
    state = metric.merge(metric.init(), metric.merge(fake, metric.merge(real, metric.init())))
    a, b = metric.compute(plain), metric.compute(state)
    np.testing.assert_allclose(b[:4], a[:4], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "ideal"), [("FD", 0.0), ("precision", 1.0), ("recall", 1.0), ("coverage", 1.0)])
def test_a_set_against_itself_is_ideal(name, ideal):
    metric = MetricsRegistry().get(name)
    state = metric.init()
    for side in ("real", "fake"):
        state = metric.update(state, {side: REAL, "index": np.arange(60)}, np.ones(60))
    assert metric.compute(state).value == pytest.approx(ideal, abs=1e-9)


def test_frechet_distance_is_scipy_s():
    metric = FrechetDistance()
    state = metric.merge(
        fill(metric, "real", 30 + REAL, np.arange(60), [7]), fill(metric, "fake", 30 + FAKE, np.arange(45), [])
    )
    s1, s2 = np.cov(REAL.T), np.cov(FAKE.T)
    root = np.real(linalg.sqrtm(s1 @ s2))
    expected = ((REAL.mean(0) - FAKE.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    assert metric.compute(state).value == pytest.approx(expected, rel=1e-6)


def test_manifold_metrics_are_the_brute_force_ones():
    def ball(a: np.ndarray, k: int) -> np.ndarray:
        return np.array([np.sort(np.linalg.norm(a - row, axis=1))[k] for row in a])

    gaps = np.linalg.norm(REAL[:, None] - FAKE[None], axis=-1)
    near3, near5 = gaps <= ball(REAL, 3)[:, None], gaps <= ball(REAL, 5)[:, None]
    assert manifold.precision(REAL, FAKE) == near3.any(0).mean()
    assert manifold.recall(REAL, FAKE) == (gaps <= ball(FAKE, 3)[None]).any(1).mean()
    assert manifold.density(REAL, FAKE) == pytest.approx(near5.sum(0).mean() / 5)
    assert manifold.coverage(REAL, FAKE) == near5.any(1).mean()


def test_the_mean_of_values_has_a_bootstrap_interval():
    metric = PerExample("elbo", higher_is_better=True)
    values = np.random.default_rng(3).normal(5, 2, 400)
    state = metric.update(metric.init(), {"values": values, "index": np.arange(400)}, np.ones(400))
    found = metric.compute(state)
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert (found.ci_high - found.ci_low) / 2 == pytest.approx(half, rel=0.1)


@pytest.mark.parametrize("name", PAIRS)
def test_nan_features_too_few_rows_and_other_widths_are_refused(name):
    metric = MetricsRegistry().get(name)
    with pytest.raises(ValueError, match="expected finite real features"):
        metric.update(metric.init(), {"real": np.full((3, 2), np.nan), "index": np.arange(3)}, np.ones(3))
    few = metric.update(metric.init(), {"real": REAL[:1], "index": np.arange(1)}, np.ones(1))
    with pytest.raises(ValueError, match=r"expected at least 20 data rows, got 1"):
        metric.compute(few)
    wide = metric.merge(
        fill(metric, "real", REAL, np.arange(60), []), fill(metric, "fake", FAKE[:, :2], np.arange(45), [])
    )
    with pytest.raises(ValueError, match="expected features of one width"):
        metric.compute(wide)


def test_unknown_metrics_get_a_suggestion():
    with pytest.raises(LookupError, match="Did you mean 'precision'"):
        MetricsRegistry().get("precison")
