"""Scores are 1 for codes that are the factors and 0 where every code has a double."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from artifex.vae.disentanglement import dci, mutual_information_gap, separated_attribute_predictability

GRID = np.stack(np.meshgrid(np.arange(4), np.arange(3), np.arange(5), indexing="ij"), -1).reshape(-1, 3)
FACTORS = np.tile(GRID, (8, 1))  # every combination equally often, so that factors are independent exactly
SAME = FACTORS[:, [2, 0, 1]].astype(float)
DOUBLED = np.repeat(SAME, 2, axis=1)


def test_codes_that_are_the_factors_score_one():
    assert mutual_information_gap(SAME, FACTORS) == pytest.approx(1, abs=1e-6)
    assert separated_attribute_predictability(SAME, FACTORS) == pytest.approx(1, abs=1e-6)
    assert dci(SAME, FACTORS) == pytest.approx((1, 1, 1), abs=1e-6)


def test_codes_with_doubles_have_no_gap():
    assert mutual_information_gap(DOUBLED, FACTORS) == pytest.approx(0, abs=1e-6)
    assert separated_attribute_predictability(DOUBLED, FACTORS) == pytest.approx(0, abs=1e-6)


def test_sum_and_difference_of_two_factors_are_informative_but_have_no_gap():
    """By symmetry a + b and a − b say equally much about a, and about b."""
    a, b = np.tile(np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1).reshape(-1, 2), (16, 1)).T
    z, v = np.stack([a + b, a - b], 1).astype(float), np.stack([a, b], 1)
    assert mutual_information_gap(z, v) == pytest.approx(0, abs=1e-6)
    assert separated_attribute_predictability(z, v) == pytest.approx(0, abs=1e-6)
    found = dci(z, v)
    assert found.informativeness == 1.0  # both together give the factors away
    assert found.disentanglement < 0.1


def test_gap_is_the_one_of_scikit_learn_s_mutual_information():
    z = SAME + 0.3 * np.random.default_rng(1).standard_normal(SAME.shape)
    bins = [np.digitize(c, np.linspace(c.min(), c.max(), 21)[1:-1]) for c in z.T]
    table = np.sort([[mutual_info_score(b, f) for f in FACTORS.T] for b in bins], axis=0)
    entropies = [mutual_info_score(f, f) for f in FACTORS.T]
    expected = np.mean((table[-1] - table[-2]) / entropies)
    assert mutual_information_gap(z, FACTORS) == pytest.approx(expected, abs=1e-6)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"got \(480, 1\) and \(480, 3\)"):
        mutual_information_gap(SAME[:, :1], FACTORS)
