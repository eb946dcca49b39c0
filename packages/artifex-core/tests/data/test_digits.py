import numpy as np
import pytest

from artifex.core.data.digits import digits, digits_table
from artifex.core.errors import ConfigError


@pytest.fixture(scope="module")
def train():
    return digits("train")


def test_table_is_that_of_scikit_learn():
    bunch = pytest.importorskip("sklearn.datasets").load_digits()
    assert np.array_equal(digits_table(), np.column_stack([bunch.data, bunch.target]))


def test_splits_have_the_documented_sizes_and_share_nothing(train):
    test, everything = digits("test"), digits("all")
    assert (len(train), len(test), len(everything)) == (1437, 360, 1797)
    assert np.array_equal(np.concatenate([train.arrays["x"], test.arrays["x"]]), everything.arrays["x"])
    assert np.array_equal(np.concatenate([train.arrays["y"], test.arrays["y"]]), everything.arrays["y"])


def test_split_is_in_the_order_of_the_documented_seed(train):
    order = np.random.default_rng(0).permutation(1797)
    assert np.array_equal(train.arrays["y"], digits_table()[order[:1437], 64])


def test_pixels_are_sixteenths(train):
    assert set(np.unique(train.arrays["x"] * 16)) == set(range(17))
    assert train.spec.levels == 17


def test_every_digit_is_in_both_splits(train):
    assert np.bincount(train.arrays["y"]).min() > 100
    assert np.bincount(digits("test").arrays["y"], minlength=10).min() > 20


def test_threshold_is_level_eight(train):
    x = digits("train", binarise="threshold").arrays["x"]
    assert np.array_equal(x, train.arrays["x"] * 16 >= 8)


def test_held_out_pixels_are_drawn_once_and_training_pixels_anew():
    assert digits("test", binarise="stochastic").transform is None
    assert set(np.unique(digits("test", binarise="stochastic").arrays["x"])) == {0.0, 1.0}
    assert digits("train", binarise="stochastic").transform.__name__ == "draw_pixels"


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match=r"digits: expected the split train or test or all, got 'valid'"):
        digits("valid")
