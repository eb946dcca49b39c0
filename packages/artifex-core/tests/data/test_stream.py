import itertools
import json

import numpy as np
import pytest

from artifex.core.data.order import batch_rows
from artifex.core.data.source import ArraySource
from artifex.core.data.stream import GrainStream
from artifex.core.errors import ConfigError

N, BATCH, SEED = 10, 4, 3
SOURCE = ArraySource({"x": np.arange(2.0 * N).reshape(N, 2), "y": np.arange(N)})


def labels(stream, steps):
    return [batch["y"].tolist() for batch in itertools.islice(stream, steps)]


EXPECTED = [batch_rows(N, BATCH, step, SEED).tolist() for step in range(12)]


@pytest.mark.parametrize("threads", [1, 3])
def test_order_is_that_of_data_in_memory_for_any_number_of_threads(threads):
    assert np.array_equal(labels(GrainStream(SOURCE, BATCH, SEED, threads=threads), 12), EXPECTED)


@pytest.mark.parametrize("count", [2, 4])
def test_processes_read_disjoint_parts_that_make_up_the_batch(count):
    size = BATCH // count
    slices = [slice(i * size, (i + 1) * size) for i in range(count)]
    parts = [labels(GrainStream(SOURCE, BATCH, SEED, rows=rows), 6) for rows in slices]
    assert np.array_equal(np.concatenate(parts, axis=1), EXPECTED[:6])
    assert len(parts[0][0]) == size


def test_position_is_json_and_belongs_to_the_batch_handed_out_last():
    stream = GrainStream(SOURCE, BATCH, SEED)
    labels(stream, 5)
    state = json.loads(json.dumps(stream.get_state()))
    assert state["grain"] == {"next_index": 5}
    other = GrainStream(SOURCE, BATCH, SEED, threads=1)
    other.set_state(state)
    assert np.array_equal(labels(other, 7), EXPECTED[5:])


def test_position_of_a_fresh_stream_is_its_start():
    stream = GrainStream(SOURCE, BATCH, SEED)
    start = stream.get_state()
    labels(stream, 3)
    stream.set_state(start)
    assert np.array_equal(labels(stream, 2), EXPECTED[:2])


@pytest.mark.parametrize(
    ("source", "batch_size", "seed", "named"),
    [
        (ArraySource({"x": np.zeros((N, 2))}), BATCH, SEED, "digest"),
        (SOURCE, 2, SEED, "batch_size 4 is now 2"),
        (SOURCE, BATCH, 8, "seed 3 is now 8"),
    ],
)
def test_a_position_of_other_data_is_refused(source, batch_size, seed, named):
    state = GrainStream(SOURCE, BATCH, SEED).get_state()
    with pytest.raises(ConfigError, match=f"GrainStream: expected the data .* got others: .*{named}"):
        GrainStream(source, batch_size, seed).set_state(state)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ConfigError, match=r"expected at most 10, the number of examples, got 16"):
        GrainStream(SOURCE, 16, SEED)
