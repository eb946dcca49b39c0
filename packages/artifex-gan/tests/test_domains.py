"""Two kinds of pictures as one data set."""

from __future__ import annotations

import numpy as np
import pytest

from artifex.core.data.load import load_dataset
from artifex.core.data.source import ArraySource
from artifex.core.data.spec import DataSpec
from artifex.core.errors import ConfigError
from artifex.gan.domains import Pairs, negative

SPEC = DataSpec(shape=(1, 1, 1), low=0.0, high=1.0, kind="image")


def numbers(n, spec=SPEC):
    return ArraySource({"x": np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1) / n}, spec)


def test_an_epoch_of_unpaired_data_is_every_pair_once():
    pairs = Pairs(numbers(3), numbers(4))
    batch = pairs.take(np.arange(len(pairs)))
    found = {
        (round(3 * float(x)), round(4 * float(y))) for x, y in zip(batch["x"].ravel(), batch["y"].ravel(), strict=True)
    }
    assert found == {(i, j) for i in range(3) for j in range(4)}
    assert len(pairs) == 12


def test_many_pictures_meet_as_many_sources_as_fit():
    pairs = Pairs(numbers(3000), numbers(3000))
    assert len(pairs) <= 2**22
    batch = pairs.take(np.arange(len(pairs)))
    counts = np.bincount(np.round(3000 * batch["y"].ravel()).astype(int), minlength=3000)
    assert counts.min() > 0  # no source is left out
    assert counts.max() - counts.min() <= pairs.each


def test_the_negative_exchanges_dark_and_bright():
    x = negative(load_dataset("digits", "test")).take(np.arange(5))["x"]
    np.testing.assert_allclose(x, 1 - load_dataset("digits", "test").take(np.arange(5))["x"], atol=1e-6)


def test_digits_and_their_negatives_load_by_name():
    unpaired = load_dataset({"type": "unpaired", "x": "digits", "y": "digits", "invert_y": True})
    assert unpaired.spec.condition_shape == unpaired.spec.shape == (8, 8, 1)
    paired = load_dataset({"type": "paired", "x": {"type": "digits"}, "y": "digits", "invert_y": True})
    batch = paired.take(np.arange(7))
    np.testing.assert_allclose(batch["x"] + batch["y"], 1, atol=1e-6)


def test_another_range_is_refused():
    wide = DataSpec(shape=(1, 1, 1), low=-1.0, high=1.0, kind="image")
    with pytest.raises(ConfigError, match=r"expected x and y of one range, got \[0.0, 1.0\].*\[-1.0, 1.0\]"):
        Pairs(numbers(2), numbers(2, wide))


def test_pairs_of_unequal_number_are_refused():
    other = {"type": "digits", "binarise": "threshold"}
    with pytest.raises(ConfigError, match="expected as many pictures in x as in y, got"):
        load_dataset({"type": "paired", "x": "digits", "y": "two_moons"})
    assert len(load_dataset({"type": "paired", "x": "digits", "y": other})) == len(load_dataset("digits"))
