import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifex.core.data.order import batch_rows, check_batch_size, permutation
from artifex.core.errors import ConfigError


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 40), seed=st.integers(-5, 2**40), epoch=st.integers(0, 2**20))
def test_an_epoch_holds_every_example_once(n, seed, epoch):
    assert np.array_equal(np.sort(permutation(n, seed, epoch)), np.arange(n))


def test_order_is_fixed_by_seed_and_epoch_for_good():
    # The digest of this order was computed once; another value would break the resume of every saved run.
    order = permutation(1000, 7, 3).astype("<i8")
    assert hashlib.sha256(order.tobytes()).hexdigest()[:16] == "5dd4a4a3c0ab66a3"


def test_orders_of_seeds_and_epochs_differ():
    orders = {tuple(permutation(20, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_every_place_is_equally_likely():
    first = np.array([permutation(4, seed, 0)[0] for seed in range(4000)])
    counts = np.bincount(first, minlength=4)
    # 1000 expected, standard deviation 27: five of them
    assert np.abs(counts - 1000).max() < 137


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 23), batch_size=st.integers(1, 23), seed=st.integers(0, 9))
def test_batches_laid_end_to_end_are_the_epochs_laid_end_to_end(n, batch_size, seed):
    steps = 5
    rows = np.concatenate([batch_rows(n, batch_size, step, seed) for step in range(steps)])
    epochs = [permutation(n, seed, epoch) for epoch in range(steps * batch_size // n + 1)]
    assert np.array_equal(rows, np.concatenate(epochs)[: steps * batch_size])


def test_an_order_cannot_be_written_to():
    with pytest.raises(ValueError, match=r"read-only"):
        permutation(5, 0, 0)[0] = 1


@pytest.mark.parametrize(("batch_size", "sentence"), [(11, "expected at most 10"), (0, "expected at least 1")])
def test_a_batch_that_the_data_cannot_fill_is_refused(batch_size, sentence):
    with pytest.raises(ConfigError, match=f"trainer.batch_size: {sentence}.*got {batch_size}"):
        check_batch_size(batch_size, 10)


def test_a_batch_of_all_data_is_accepted():
    assert batch_rows(10, 10, 0, 0).sum() == 45
    check_batch_size(10, 10)
