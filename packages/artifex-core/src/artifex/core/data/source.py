"""Sources: examples by row, with a spec and a digest."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Int, Key

from artifex.core.data.spec import DataSpec, Kind

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

    def take(self, rows: Int[np.ndarray, " row"]) -> Arrays:
        """The examples of some rows."""
        ...


class ArraySource:
    """Examples in memory: arrays of equal first axis, `"x"` the data and `"y"` the condition.

    Args:
        nonfinite: what to do about rows with NaN or infinity: refuse the data, or drop them and count in `dropped`.

    Raises:
        ValueError: no examples, unequal lengths, objects, or numbers that are not finite.
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
        checked = _checked({key: np.asarray(value) for key, value in arrays.items()}, name)
        self.arrays, self.dropped = _finite(checked, name, drop=nonfinite == "drop")
        self.spec = spec if spec is not None else infer_spec(self.arrays)
        self.name, self.transform = name, transform

    def __len__(self) -> int:
        return len(self.arrays["x"])

    def take(self, rows: Int[np.ndarray, " row"]) -> Arrays:
        """The examples of some rows."""
        return {key: value[rows] for key, value in self.arrays.items()}

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 over names, shapes, dtypes and bytes."""
        return content_digest(self.arrays)


def content_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes, dtypes and bytes of arrays."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        digest.update(f"{key}{array.shape}{array.dtype.str}".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def as_source(data: Any) -> Source:
    """A source of what is given: a source, an array, or a mapping of arrays."""
    if isinstance(data, Source):
        return data
    if isinstance(data, Mapping):
        return ArraySource(data)
    if isinstance(data, np.ndarray | Array | list | tuple):
        return ArraySource({"x": np.asarray(data)})
    raise TypeError(
        f"as_source: expected a source, an array or a mapping of arrays, got {type(data).__name__}. "
        "Wrap it as ArraySource({'x': ...})."
    )


def subset(source: Source, rows: Int[np.ndarray, " row"]) -> ArraySource:
    """Some rows of a source, in memory."""
    return ArraySource(source.take(rows), source.spec, name=source.name, transform=source.transform)


def batches(source: Source, batch_size: int) -> Iterator[Arrays]:
    """The source in order, in batches of one size; `"mask"` is 1 for a row that counts and 0 for padding."""
    for first in range(0, len(source), batch_size):
        rows = np.arange(first, first + batch_size)
        real = rows < len(source)
        batch = source.take(np.where(real, rows, len(source) - 1))
        yield {**batch, "mask": real.astype(np.float32)}


def infer_spec(arrays: Mapping[str, np.ndarray]) -> DataSpec:
    """The spec that the arrays themselves suggest."""
    x, y = arrays["x"], arrays.get("y")
    kind: Kind = "image" if x.ndim == 4 and x.shape[-1] in (1, 3, 4) else "sequence" if x.ndim == 3 else "vector"
    classes = int(y.max()) + 1 if y is not None and y.ndim == 1 and np.issubdtype(y.dtype, np.integer) else None
    return DataSpec(
        shape=x.shape[1:],
        dtype=str(x.dtype),
        kind=kind,
        n_classes=classes,
        condition_shape=None if y is None else y.shape[1:],
    )


def _checked(arrays: Arrays, name: str) -> Arrays:
    lengths = {key: value.shape[0] if value.ndim else None for key, value in arrays.items()}
    if "x" not in arrays or len(set(lengths.values())) != 1 or None in lengths.values():
        raise ValueError(
            f"{name}: expected an array 'x', and others of the same length, got lengths {lengths}. Give one row an example."
        )
    if lengths["x"] == 0:
        raise ValueError(f"{name}: expected at least one example, got an empty data set. Check the file or the split.")
    for key, value in arrays.items():
        if not (np.issubdtype(value.dtype, np.number) or value.dtype == bool or value.dtype.kind == "V"):
            raise TypeError(f"{name}: expected numbers in {key!r}, got dtype {value.dtype}. Encode them as numbers.")
    return {k: v.astype(np.float32) if v.dtype == np.float64 and not _x64() else v for k, v in arrays.items()}


def _x64() -> bool:
    """Whether jax computes in float64."""
    import jax

    return bool(jax.config.jax_enable_x64)


def _finite(arrays: Arrays, name: str, *, drop: bool) -> tuple[Arrays, int]:
    good = np.ones(len(arrays["x"]), bool)
    for value in arrays.values():
        if np.issubdtype(value.dtype, np.floating):
            good &= np.isfinite(value).reshape(len(value), -1).all(axis=1)
    bad = int((~good).sum())
    if bad and not drop:
        raise ValueError(
            f"{name}: expected finite numbers, got NaN or infinity in {bad} of {len(good)} rows, first in row "
            f"{int(np.argmin(good))}. Mend them, or pass nonfinite='drop'."
        )
    if bad == len(good):
        raise ValueError(f"{name}: expected at least one finite row, got none of {bad}.")
    return ({key: value[good] for key, value in arrays.items()} if bad else arrays), bad
