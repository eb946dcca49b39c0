import numpy as np
import pytest

from artifex.core.data.infer import infer_spec

RNG = np.random.default_rng(0)


def test_bytes_have_256_levels():
    spec = infer_spec({"x": np.zeros((3, 8, 8, 1), np.uint8)})
    assert (spec.low, spec.high, spec.levels, spec.kind, spec.shape) == (0.0, 255.0, 256, "image", (8, 8, 1))


def test_booleans_have_two_levels():
    spec = infer_spec({"x": np.zeros((3, 5), bool)})
    assert (spec.low, spec.high, spec.levels) == (0.0, 1.0, 2)


@pytest.mark.parametrize(("scale", "low", "high"), [(1.0, 0.0, 1.0), (-1.0, -1.0, 1.0), (2.0, None, None)])
def test_pictures_are_bounded_by_the_customary_range_that_holds_them(scale, low, high):
    x = (scale * RNG.random((50, 4, 4, 3))).astype(np.float32)
    spec = infer_spec({"x": x})
    assert (spec.low, spec.high, spec.levels) == (low, high, None)


def test_a_sample_of_vectors_bounds_nothing():
    spec = infer_spec({"x": RNG.random((50, 4)).astype(np.float32)})
    assert (spec.kind, spec.low, spec.high) == ("vector", None, None)


@pytest.mark.parametrize(
    ("shape", "dtype", "kind"),
    [
        ((5, 4), np.float32, "vector"),
        ((5, 4), np.int32, "tokens"),
        ((5, 4, 2), np.float32, "sequence"),
        ((5, 4, 4, 2), np.float32, "vector"),
        ((5, 4, 4, 4), np.float32, "image"),
    ],
)
def test_kind_follows_from_axes_and_dtype(shape, dtype, kind):
    assert infer_spec({"x": np.zeros(shape, dtype)}).kind == kind


@pytest.mark.parametrize(
    ("y", "n_classes", "condition_shape"),
    [
        (np.array([0, 4, 2]), 5, ()),
        (np.array([-1, 0, 1]), None, ()),
        (np.array([0.0, 1.0, 2.0]), None, ()),
        (np.zeros((3, 7), np.int32), None, (7,)),
    ],
)
def test_only_whole_numbers_from_zero_on_are_classes(y, n_classes, condition_shape):
    spec = infer_spec({"x": np.zeros((3, 2), np.float32), "y": y})
    assert (spec.n_classes, spec.condition_shape) == (n_classes, condition_shape)
