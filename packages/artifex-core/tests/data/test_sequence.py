import numpy as np
import pytest

from artifex.core.data.sequence import SequenceSource
from artifex.core.data.source import Source, as_source
from artifex.core.data.spec import DataSpec
from artifex.core.errors import ConfigError

SPEC = DataSpec(shape=(2,), n_classes=3, condition_shape=())


def records(n=20):
    return [{"x": np.array([i, 2.0 * i]), "y": i % 3} for i in range(n)]


def test_taken_records_are_stacked_in_the_order_asked_for():
    taken = SequenceSource(records(), SPEC).take(np.array([3, 1]))
    assert np.array_equal(taken["x"], [[3, 6], [1, 2]])
    assert np.array_equal(taken["y"], [0, 1])
    assert taken["x"].dtype == np.float32


def test_a_grain_dataset_is_a_sequence():
    grain = pytest.importorskip("grain")
    dataset = grain.MapDataset.range(6).map(lambda i: {"x": np.array([i, -i], np.float32)})
    source = SequenceSource(dataset, SPEC, name="grain")
    assert len(source) == 6
    assert np.array_equal(source.take(np.array([5]))["x"], [[5, -5]])


def test_it_is_a_source():
    source = SequenceSource(records(), SPEC)
    assert isinstance(source, Source)
    assert as_source(source) is source


def test_a_record_that_is_not_finite_is_named():
    broken = records()
    broken[7]["x"] = np.array([0.0, np.nan])
    with pytest.raises(ConfigError, match=r"mine: expected finite numbers, got NaN or infinity in record 7"):
        SequenceSource(broken, SPEC, name="mine").take(np.array([1, 7, 2]))


def test_no_records_are_refused():
    with pytest.raises(ConfigError, match=r"mine: expected at least one example, got an empty data set"):
        SequenceSource([], SPEC, name="mine")


def test_digest_tells_data_apart_by_number_and_content():
    changed = records()
    changed[0]["x"] = changed[0]["x"] + 1
    digests = [SequenceSource(r, SPEC).digest for r in (records(), records(), records(21), changed)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert SequenceSource(records(), SPEC, digest="given").digest == "given"
