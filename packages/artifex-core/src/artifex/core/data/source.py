"""Sources: examples by row, with a spec and a digest.

A batch is a mapping of arrays with one first axis: `"x"` holds the data, `"y"` the condition where there is one, and
`"mask"` is 1 for a row that counts and 0 for padding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from artifex.core.data.infer import infer_spec
from artifex.core.data.spec import DataSpec
from artifex.core.errors import ConfigError

Arrays = dict[str, np.ndarray]
Transform = Callable[[dict[str, Array], Key[Array, ""]], dict[str, Array]]


@runtime_checkable
class Source(Protocol):
    """Random access to examples."""

    name: str
    spec: DataSpec
    transform: Transform | None  # traced in the training step: noise that belongs to the data

    @property
    def digest(self) -> str:
        """A digest of the content."""
        ...

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def take(self, indices: Int[np.ndarray, " row"]) -> Arrays:
        """The examples at some indices."""
        ...


class ArraySource:
    """Examples in memory, as arrays of equal first axis. Numbers are held as jax computes with them (float32, int32).

    Args:
        nonfinite: what to do about rows with NaN or infinity: refuse the data, or drop them and count in `dropped`.

    Raises:
        ConfigError: no examples, unequal lengths, or numbers that are not finite.
        TypeError: arrays of something else than numbers.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        spec: DataSpec | None = None,
        *,
        name: str = "arrays",
        transform: Transform | None = None,
        nonfinite: Literal["raise", "drop"] = "raise",
    ) -> None:
        given = {key: np.asarray(value) for key, value in arrays.items()}
        check_lengths(given, name)
        numbers = {key: as_numbers(value, key, name) for key, value in given.items()}
        good = finite_rows(numbers)
        self.dropped = int((~good).sum())
        if self.dropped and (nonfinite == "raise" or not good.any()):
            raise ConfigError(
                f"{name}: expected finite numbers, got NaN or infinity in {self.dropped} of {len(good)} rows, "
                f"first in row {int(np.argmin(good))}. Mend them, or set nonfinite='drop' (skip_bad: true)."
            )
        self.arrays = {key: value[good] for key, value in numbers.items()} if self.dropped else numbers
        self.spec = spec if spec is not None else infer_spec(self.arrays)
        self.name, self.transform = name, transform
        self._digest = ""

    def __len__(self) -> int:
        return len(self.arrays["x"])

    def take(self, indices: Int[np.ndarray, " row"]) -> Arrays:
        """The examples at some indices."""
        return {key: value[indices] for key, value in self.arrays.items()}

    @property
    def digest(self) -> str:
        """SHA-256 over names, shapes, dtypes and bytes of the arrays, and the name of the transform."""
        if not self._digest:  # computed when first asked for: it reads every byte
            noise = self.transform
            label = "" if noise is None else getattr(noise, "__qualname__", type(noise).__name__)
            self._digest = content_digest(self.arrays, label)
        return self._digest


def check_lengths(arrays: Arrays, name: str) -> None:
    """Refuse arrays without `"x"`, of unequal lengths, or without rows."""
    lengths = {key: len(value) if value.ndim else None for key, value in arrays.items()}
    if "x" not in lengths or len(set(lengths.values())) != 1 or None in lengths.values():
        raise ConfigError(
            f"{name}: expected an array 'x', and others of the same length, got lengths {lengths}. "
            "Give one row an example."
        )
    if lengths["x"] == 0:
        raise ConfigError(f"{name}: expected at least one example, got an empty data set. Check the file or the split.")


def as_numbers(values: np.ndarray, key: str, name: str) -> np.ndarray:
    """The array in the dtype that jax gives it on a device."""
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected numbers in {key!r}, got dtype {values.dtype}. Encode them as numbers.")
    return values.astype(jax.dtypes.canonicalize_dtype(values.dtype), copy=False)


def finite_rows(arrays: Arrays) -> np.ndarray:
    """Which rows hold finite numbers only."""
    good = np.ones(len(arrays["x"]), bool)
    for value in arrays.values():
        if value.dtype.kind == "f":
            good &= np.isfinite(value).reshape(len(value), -1).all(axis=1)
    return good


def content_digest(arrays: Mapping[str, np.ndarray], label: str = "") -> str:
    """SHA-256 over a label and the names, shapes, dtypes and bytes of arrays."""
    digest = hashlib.sha256(label.encode())
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        digest.update(f"{key}{array.shape}{array.dtype.str}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def as_source(data: Any) -> Source:
    """A source of what is given: a source, an array, or a mapping of arrays."""
    if isinstance(data, ArraySource):  # first, because asking for the protocol computes the digest (before Python 3.12)
        return data
    if isinstance(data, Mapping):
        return ArraySource(data)
    if isinstance(data, np.ndarray | Array | list | tuple):
        return ArraySource({"x": np.asarray(data)})
    if isinstance(data, Source):
        return data
    raise TypeError(
        f"as_source: expected a source, an array or a mapping of arrays, got {type(data).__name__}. "
        "Wrap it as ArraySource({'x': ...})."
    )


def subset(source: Source, indices: Int[np.ndarray, " row"]) -> ArraySource:
    """Some examples of a source, in memory."""
    return ArraySource(source.take(indices), source.spec, name=source.name, transform=source.transform)


def batches(source: Source, batch_size: int) -> Iterator[Arrays]:
    """The source in order, in batches of one size; the last is padded with its last example, where `"mask"` is 0."""
    for first in range(0, len(source), batch_size):
        rows = np.arange(first, first + batch_size)
        real = rows < len(source)
        batch = source.take(np.where(real, rows, len(source) - 1))
        yield {**batch, "mask": real.astype(np.float32)}
