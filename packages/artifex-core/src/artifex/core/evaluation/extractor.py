"""Feature extractors: what distribution metrics look at, named with a digest of its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Extractor(NamedTuple):
    """A function of examples, with the name that stands in results."""

    name: str
    version: int
    digest: str  # of its weights; empty where there are none
    apply: Callable[[np.ndarray], Float[np.ndarray, "row width"]]

    @property
    def key(self) -> str:
        """`name` or `name@digest`."""
        return f"{self.name}@{self.digest[:12]}" if self.digest else self.name


def flat(x: np.ndarray) -> Float[np.ndarray, "row width"]:
    """The entries of each example."""
    return np.asarray(x, np.float64).reshape(len(x), -1)


pixels = Extractor("pixels", 1, "", flat)
