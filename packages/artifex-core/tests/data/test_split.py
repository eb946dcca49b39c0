import logging

import numpy as np
import pytest

from artifex.core.data.split import check_split, report_skipped, seeded_rows, split_rows
from artifex.core.errors import ConfigError


def test_train_and_test_share_no_row_and_leave_none_out():
    train, test = (seeded_rows("t", split, 10, 0.3, 1) for split in ("train", "test"))
    assert (len(train), len(test)) == (7, 3)
    assert sorted([*train, *test]) == list(range(10))


def test_all_keeps_the_order_of_the_file():
    assert np.array_equal(seeded_rows("t", "all", 4, 0.5, 9), [0, 1, 2, 3])


def test_another_seed_gives_another_split():
    splits = {tuple(seeded_rows("t", "test", 30, 0.2, seed)) for seed in range(10)}
    assert len(splits) == 10


def test_a_fixed_split_is_by_position():
    assert np.array_equal(np.arange(10)[split_rows("t", "test", 8, 10)], [8, 9])


@pytest.mark.parametrize(("split", "share"), [("test", 0.0), ("train", 1.0), ("train", -0.1), ("test", 0.01)])
def test_a_share_that_leaves_no_examples_is_refused(split, share):
    with pytest.raises(ConfigError, match=f"t: expected a share held_out .* '{split}', got {share} of 10"):
        seeded_rows("t", split, 10, share, 0)


def test_an_unknown_split_names_the_choices():
    with pytest.raises(
        ConfigError, match=r"t: expected the split train or test or all, got 'tset'. Did you mean 'test'"
    ):
        check_split("t", "tset")


def test_what_is_left_out_is_said_once(caplog):
    with caplog.at_level(logging.WARNING, "artifex.data"):
        assert report_skipped("t", ["first", "second"], 9) == 2
        assert report_skipped("t", [], 9) == 0
    assert caplog.messages == ["t: left out 2 of 9 records; the first: first"]
