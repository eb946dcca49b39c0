import numpy as np
import pytest

from artifex.core.evaluation.manifold import Coverage, Density, Precision, Recall

METRICS = {"precision": Precision, "recall": Recall, "density": Density, "coverage": Coverage}


def computed(metric, real, fake):
    state = metric.init()
    for side, rows in (("real", real), ("fake", fake)):
        state = metric.update(state, {side: rows, "index": np.arange(len(rows))}, np.ones(len(rows)))
    return metric.compute(state)


def brute_force(real, fake):
    """Eq. 1 to 4 with loops, in squared distances; exact for small integers."""

    def squared(a, b):
        return ((a - b) ** 2).sum()

    def radius(rows, i, k):
        return sorted(squared(rows[i], other) for other in rows)[k]

    r3, s3 = ([radius(rows, i, 3) for i in range(len(rows))] for rows in (real, fake))
    r5 = [radius(real, i, 5) for i in range(len(real))]
    d = np.array([[squared(a, y) for y in fake] for a in real])
    return {
        "precision": np.mean([(d[:, j] <= r3).any() for j in range(len(fake))]),
        "recall": np.mean([(d[i] <= s3).any() for i in range(len(real))]),
        "density": sum((d[:, j] < r5).sum() for j in range(len(fake))) / (5 * len(fake)),
        "coverage": np.mean([(d[i] <= r5[i]).any() for i in range(len(real))]),
    }


@pytest.fixture(scope="module")
def continuous():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 2)), rng.normal(0.5, 0.7, size=(50, 2))


@pytest.fixture(scope="module")
def levels():
    rng = np.random.default_rng(0)
    return rng.integers(0, 4, size=(60, 6)).astype(float), rng.integers(0, 3, size=(50, 6)).astype(float)


@pytest.mark.parametrize("name", METRICS)
def test_the_value_equals_brute_force(name, continuous):
    assert computed(METRICS[name](), *continuous).value == brute_force(*continuous)[name]


@pytest.mark.parametrize("name", METRICS)
def test_ties_of_data_in_levels_count_as_exact_arithmetic_counts_them(name, levels):
    assert computed(METRICS[name](), *levels).value == brute_force(*levels)[name]


@pytest.mark.parametrize("name", METRICS)
def test_scaled_and_shifted_features_give_the_same_value(name, levels):
    moved = [x * 0.1 + 7.3 for x in levels]
    assert computed(METRICS[name](), *moved).value == computed(METRICS[name](), *levels).value


@pytest.mark.parametrize("name", METRICS)
def test_sets_far_apart_share_nothing(name, continuous):
    assert computed(METRICS[name](), continuous[0], continuous[1] + 100)[:3] == (0, 0, 0)


def test_samples_of_one_mode_are_precise_and_recall_half():
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(0, 0.1, size=(100, 2)), rng.normal(10, 0.1, size=(100, 2))])
    fake = rng.normal(0, 0.1, size=(200, 2))
    assert computed(Precision(), real, fake).value > 0.9
    assert computed(Recall(), real, fake).value == pytest.approx(0.5, abs=0.05)
    assert computed(Coverage(), real, fake).value == pytest.approx(0.5, abs=0.05)
