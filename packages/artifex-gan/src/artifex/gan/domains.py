"""Two kinds of pictures as one data set: x the target, y the source.

    paired     row i holds x_i and y_i
    unpaired   row k of n_x n_y holds x_i and y_j, (i, j) = divmod(k, n_y)                                       (1)
An epoch of unpaired data is every pair once, in a random order, so that both kinds are drawn independently and
uniformly; where that would be more than 2²² rows, each x meets as many sources as fit, other ones for each x.

References:
    [1] Zhu et al., Unpaired Image-to-Image Translation, 2017, arXiv:1703.10593
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from artifex.core.data.load import load_dataset
from artifex.core.data.source import Arrays, ArraySource, Source, Transform
from artifex.core.data.spec import DataSpec
from artifex.core.errors import ConfigError

MOST_PAIRS = 2**22  # an order of them takes 32 MB


class Pairs:
    """Every picture of one source with pictures of another (eq. 1); random access."""

    transform: Transform | None = None

    def __init__(self, x: Source, y: Source) -> None:
        self.x, self.y = x, y
        self.spec = joined_spec(x, y)
        self.name = f"{x.name} from {y.name}"
        self.each = max(1, min(len(y), MOST_PAIRS // len(x)))  # sources that a target meets in an epoch

    @property
    def digest(self) -> str:
        """A digest of both."""
        return f"{self.x.digest}-{self.y.digest}"

    def __len__(self) -> int:
        return len(self.x) * self.each

    def take(self, indices: Int[np.ndarray, " row"]) -> Arrays:
        """The pairs at some indices."""
        i, j = np.divmod(np.asarray(indices), self.each)  # eq. 1
        return {"x": self.x.take(i)["x"], "y": self.y.take((j + i * self.each) % len(self.y))["x"]}


def joined_spec(x: Source, y: Source) -> DataSpec:
    """The spec of x with pictures of y as the condition.

    Raises:
        ConfigError: their ranges differ.
    """
    if (x.spec.low, x.spec.high) != (y.spec.low, y.spec.high):
        raise ConfigError(
            f"config.data: expected x and y of one range, got [{x.spec.low}, {x.spec.high}] of {x.name} and "
            f"[{y.spec.low}, {y.spec.high}] of {y.name}. Scale one of them."
        )
    return DataSpec(
        shape=x.spec.shape,
        low=x.spec.low,
        high=x.spec.high,
        levels=x.spec.levels,
        kind=x.spec.kind,
        condition_shape=y.spec.shape,
    )


def unpaired(split: str = "train", *, x: Any = "digits", y: Any = "digits", invert_y: bool = False) -> Pairs:
    """Pictures of the data set x with independent ones of the data set y, each a name or a mapping as `data` is.

    Args:
        invert_y: turn the pictures of y into their negatives.
    """
    return Pairs(*_sources(split, x, y, invert_y))


def paired(split: str = "train", *, x: Any = "digits", y: Any = "digits", invert_y: bool = False) -> ArraySource:
    """Picture i of the data set x with picture i of the data set y.

    Raises:
        ConfigError: they differ in number.
    """
    targets, sources = _sources(split, x, y, invert_y)
    if len(targets) != len(sources):
        raise ConfigError(
            f"config.data: expected as many pictures in x as in y, got {len(targets)} and {len(sources)}. "
            "Pair them, or use the data set 'unpaired'."
        )
    rows = np.arange(len(targets))
    arrays = {"x": targets.take(rows)["x"], "y": sources.take(rows)["x"]}
    return ArraySource(arrays, joined_spec(targets, sources), name=f"{targets.name} from {sources.name}")


def _sources(split: str, x: Any, y: Any, invert_y: bool) -> tuple[Source, Source]:
    targets, sources = load_dataset(_as_tree(x), split), load_dataset(_as_tree(y), split)
    return targets, negative(sources) if invert_y else sources


def _as_tree(data: Any) -> Any:
    """A name, or the mapping that a config has frozen into pairs."""
    return data if isinstance(data, str) else dict(data)


def negative(source: Source) -> ArraySource:
    """The pictures of a source with dark and bright exchanged, without labels.

    Raises:
        ConfigError: the source does not say its range.
    """
    low, high = source.spec.low, source.spec.high
    if low is None or high is None:
        raise ConfigError(f"config.data: expected {source.name} to have a range, got none. Leave invert_y out.")
    x = low + high - source.take(np.arange(len(source)))["x"]
    return ArraySource(
        {"x": x}, DataSpec(shape=x.shape[1:], low=low, high=high, kind=source.spec.kind), name="negative"
    )
