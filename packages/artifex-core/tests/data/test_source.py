import jax.numpy as jnp
import numpy as np
import pytest

from artifex.core.data.source import ArraySource, as_source, batches, content_digest, subset
from artifex.core.data.spec import DataSpec
from artifex.core.errors import ConfigError

X = np.arange(15.0).reshape(5, 3)
Y = np.array([0, 1, 2, 1, 0])


def with_nan(row):
    broken = X.copy()
    broken[row, 1] = np.nan
    return broken


def test_taken_rows_are_the_rows_asked_for():
    taken = ArraySource({"x": X, "y": Y}).take(np.array([4, 0, 4]))
    assert np.array_equal(taken["x"], X[[4, 0, 4]])
    assert np.array_equal(taken["y"], [0, 0, 0])


def test_numbers_are_held_as_a_device_holds_them():
    source = ArraySource({"x": X, "y": Y})
    assert {key: str(value.dtype) for key, value in source.arrays.items()} == {"x": "float32", "y": "int32"}
    assert source.spec.dtype == "float32"


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"y": Y}, "expected an array 'x'"),
        ({"x": X, "y": Y[:4]}, "of the same length, got lengths {'x': 5, 'y': 4}"),
        ({"x": np.float32(3)}, "got lengths {'x': None}"),
        ({"x": X[:0]}, "expected at least one example, got an empty data set"),
        ({"x": with_nan(3)}, "got NaN or infinity in 1 of 5 rows, first in row 3"),
        ({"x": X, "y": np.array([1, 2, 3, 4, np.inf])}, "got NaN or infinity in 1 of 5 rows, first in row 4"),
    ],
)
def test_arrays_that_are_no_data_are_refused(arrays, sentence):
    with pytest.raises(ConfigError) as error:
        ArraySource(arrays, name="mine")
    assert str(error.value).startswith("mine: expected")
    assert sentence in str(error.value)


@pytest.mark.parametrize("values", [np.array([{}, {}]), np.array(["a", "b"]), np.array([1j, 2j])])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(TypeError, match=r"arrays: expected numbers in 'x', got dtype"):
        ArraySource({"x": values})


def test_dropped_rows_are_counted_and_their_labels_go_with_them():
    source = ArraySource({"x": with_nan(1), "y": Y}, nonfinite="drop")
    assert source.dropped == 1
    assert np.array_equal(source.arrays["y"], [0, 2, 1, 0])
    assert np.array_equal(source.arrays["x"][:, 0], [0, 6, 9, 12])


def test_dropping_every_row_is_refused():
    with pytest.raises(ConfigError, match=r"in 5 of 5 rows"):
        ArraySource({"x": np.full((5, 3), np.nan)}, nonfinite="drop")


def test_digest_depends_on_every_byte_name_shape_and_transform():
    one_off = X.copy()
    one_off[4, 2] += 1
    sources = [
        ArraySource({"x": X}),
        ArraySource({"x": one_off}),
        ArraySource({"x": X.reshape(5, 3, 1)}),
        ArraySource({"x": X, "y": Y}),
        ArraySource({"x": X, "z": Y}),
        ArraySource({"x": X}, transform=lambda batch, key: batch),
    ]
    assert len({source.digest for source in sources}) == 6


def test_digest_of_equal_content_is_equal():
    assert ArraySource({"x": X}).digest == ArraySource({"x": np.asfortranarray(X)}, name="other").digest
    assert content_digest({"x": X}) != content_digest({"x": X.astype(np.float32)})


def test_arrays_lists_and_mappings_become_sources():
    for data in (X, X.tolist(), jnp.asarray(X), {"x": X}):
        source = as_source(data)
        assert np.array_equal(source.take(np.array([2]))["x"], X[[2]])
    assert as_source(source) is source


def test_as_source_does_not_read_the_content_of_a_source():
    source = ArraySource({"x": X})
    as_source(source)
    assert source._digest == ""


def test_what_is_no_data_is_refused():
    with pytest.raises(TypeError, match=r"as_source: expected a source, an array or a mapping of arrays, got int"):
        as_source(3)


def test_a_subset_keeps_the_spec_of_the_whole():
    spec = DataSpec(shape=(3,), low=0.0, high=14.0, n_classes=3, condition_shape=())
    part = subset(ArraySource({"x": X, "y": Y}, spec, name="whole"), np.array([0, 1]))
    assert part.spec is spec
    assert part.name == "whole"
    assert np.array_equal(part.arrays["y"], [0, 1])


def test_padding_counts_for_nothing():
    source = ArraySource({"x": X, "y": Y})
    given = list(batches(source, 2))
    assert [batch["mask"].tolist() for batch in given] == [[1, 1], [1, 1], [1, 0]]
    mean = sum((batch["x"][:, 0] * batch["mask"]).sum() for batch in given) / sum(b["mask"].sum() for b in given)
    assert mean == pytest.approx(X[:, 0].mean(), rel=1e-6)


def test_a_batch_larger_than_the_data_is_padded_in_evaluation():
    (batch,) = batches(ArraySource({"x": X}), 8)
    assert batch["x"].shape == (8, 3)
    assert batch["mask"].sum() == 5
