"""Training and held-out examples.

A data set without a split of its own gets one from a seed: of n examples in the order of `default_rng(seed)`, the last
n_test = round(n · held_out) are the test split.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

from artifex.core.errors import ConfigError, did_you_mean

SPLITS = ("train", "test", "all")
log = logging.getLogger("artifex.data")


def check_split(name: str, split: str, splits: Iterable[str] = SPLITS) -> None:
    """Refuse a split that the data set `name` does not have."""
    names = tuple(splits)
    if split not in names:
        raise ConfigError(
            f"{name}: expected the split {' or '.join(names)}, got {split!r}.{did_you_mean(split, names)} "
            "Choose one of them."
        )


def split_rows(name: str, split: str, n_train: int, n: int) -> slice:
    """Which of n examples a split holds: the first `n_train`, those after them, or all."""
    check_split(name, split)
    return {"train": slice(n_train), "test": slice(n_train, n), "all": slice(n)}[split]


def seeded_rows(name: str, split: str, n: int, held_out: float, seed: int) -> Int[np.ndarray, " row"]:
    """Which of n examples a split holds, in the order that the seed gives; `all` keeps the order of the file.

    Raises:
        ConfigError: `held_out` is no share, or leaves one split without examples.
    """
    check_split(name, split)
    if split == "all":
        return np.arange(n)
    n_test = round(n * held_out)
    if not 0 <= held_out < 1 or n_test == n or (split == "test" and n_test == 0):
        raise ConfigError(
            f"{name}: expected a share held_out that leaves examples for the split {split!r}, got {held_out} of {n} "
            f"examples. Use a number between 0 and 1, such as 0.2, or more data."
        )
    return np.random.default_rng(seed).permutation(n)[split_rows(name, split, n - n_test, n)]


def report_skipped(name: str, problems: list[str], n: int) -> int:
    """The number of records that were left out, after one line about them in the log `artifex.data`."""
    if problems:
        log.warning("%s: left out %d of %d records; the first: %s", name, len(problems), n, problems[0])
    return len(problems)
