"""Feature extractors: what distribution metrics look at, named with a digest of its weights.

`FD[pixels]` needs no weights; a published name (FID) stands only where the digest is that of the published weights.
"""

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
    width: int | None  # of its features; None is that of the data
    apply: Callable[[np.ndarray], Float[np.ndarray, "row width"]]

    @property
    def key(self) -> str:
        """`name` or `name@digest`."""
        return f"{self.name}@{self.digest[:12]}" if self.digest else self.name

    def features(self, x: np.ndarray) -> Float[np.ndarray, "row width"]:
        """Features of each example.

        Raises:
            ValueError: the extractor gave something else.
        """
        found = np.asarray(self.apply(x))
        width = self.width if self.width is not None else found.size // max(len(x), 1)
        if found.shape != (len(x), width):
            raise ValueError(
                f"Extractor {self.key}: expected features of shape {(len(x), width)}, got {found.shape}. "
                "Give one row an example."
            )
        return found


def flat(x: np.ndarray) -> Float[np.ndarray, "row width"]:
    """The entries of each example."""
    return np.asarray(x, np.float64).reshape(len(x), -1)


pixels = Extractor("pixels", 1, "", None, flat)
