"""Tables from files: the arrays of an npz file, the columns of a CSV file.

A bad record names the file and the record, and stops; `skip_bad` leaves such records out, says how many, and counts
them in the source's `dropped`.
"""

from __future__ import annotations

import csv as csv_format
import dataclasses
import math
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num

from artifex.core.data.infer import infer_spec
from artifex.core.data.packed import read_packed
from artifex.core.data.source import Arrays, ArraySource, subset
from artifex.core.data.split import report_skipped, seeded_rows
from artifex.core.errors import ConfigError, did_you_mean


def npz(
    split: str = "train",
    *,
    file: str,
    levels: int | None = None,
    skip_bad: bool = False,
    held_out: float = 0.2,
    seed: int = 0,
) -> ArraySource:
    """The arrays of an npz file: `x`, and others with a row for each of its rows, such as `y`.

    Args:
        levels: how many equally spaced values from 0 to 1 `x` takes; whole numbers 0 … levels − 1 are divided.
        skip_bad: leave out rows with NaN or infinity.
        held_out: share of the rows that is the test split, in an order that `seed` gives.
    """
    arrays = read_npz(file)
    if "x" not in arrays:
        raise ConfigError(f"{file}: expected an array 'x', got {sorted(arrays)}. Rename the data array.")
    source = ArraySource(arrays, name=file, nonfinite="drop" if skip_bad else "raise")
    report_skipped(file, ["a row with NaN or infinity"] * source.dropped, len(arrays["x"]))
    if levels is not None:
        arrays = {**source.arrays, "x": in_levels(source.arrays["x"], levels, file)}
        spec = dataclasses.replace(infer_spec(arrays), low=0.0, high=1.0, levels=levels)
        source, dropped = ArraySource(arrays, spec, name=file), source.dropped
        source.dropped = dropped
    return _split(source, split, held_out, seed)


def in_levels(x: Num[np.ndarray, "row ..."], levels: int, file: str) -> Float[np.ndarray, "row ..."]:
    """Numbers in [0, 1] of which there are `levels`, from those or from their indices."""
    steps = x.astype(float) * (1 if x.dtype.kind in "iu" else levels - 1)
    whole = np.rint(steps)
    if levels < 2 or not (np.abs(steps - whole) < 1e-3).all() or whole.min() < 0 or whole.max() > levels - 1:
        raise ConfigError(
            f"{file}: expected x in 'levels' >= 2 equally spaced values from 0 to 1, or their indices, got levels "
            f"{levels} and numbers from {x.min()} to {x.max()}. Leave 'levels' out where data are continuous."
        )
    return (whole / (levels - 1)).astype(np.float32)


def read_npz(file: str | Path) -> Arrays:
    """All arrays of an npz file; Python objects in it are refused, since loading them would run code."""
    try:
        with np.load(file, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{file}: expected an npz file of plain arrays, got {error}. Write it with np.savez."
        ) from error


class Columns(NamedTuple):
    """How the cells of a record are read."""

    names: tuple[str, ...]
    target: int | None  # the column that becomes `y`
    labels: bool  # the target holds names of classes, not numbers

    def problem(self, record: list[str]) -> str:
        """What is wrong with a record; nothing if it is sound."""
        if len(record) != len(self.names):
            return f"{len(record)} cells"
        numbers = [cell for i, cell in enumerate(record) if not (self.labels and i == self.target)]
        return next((repr(cell) for cell in numbers if not math.isfinite(number(cell))), "")


def csv(
    split: str = "train",
    *,
    file: str,
    header: bool | None = None,
    target: str | int | None = None,
    labels: bool = False,
    skip_bad: bool = False,
    held_out: float = 0.2,
    seed: int = 0,
) -> ArraySource:
    """The numbers of a CSV file, packed or not: a row an example, and one column perhaps the condition.

    Args:
        header: whether the first row names the columns; by default, it does if no cell in it is a number.
        target: the column that becomes `y`, by name or position (-1 is the last).
        labels: the target names classes; they are counted from 0 in order.
        skip_bad: leave out records with cells that are too few, too many, or no finite numbers.
        held_out: share of the records that is the test split, in an order that `seed` gives.
    """
    records = read_csv(file)
    first = records[0][1]
    if header is None:
        header = all(math.isnan(number(cell)) for cell in first)
    names = tuple(first) if header else tuple(map(str, range(len(first))))
    columns = Columns(names, _position(file, names, target), labels)
    sound, problems = [], []
    for line, record in records[1:] if header else records:
        problem = columns.problem(record)
        if problem:
            problems.append(f"{file}:{line}: expected {len(names)} finite numbers, got {problem}.")
        else:
            sound.append(record)
    if problems and not skip_bad:
        raise ConfigError(f"{problems[0]} Mend it, or set skip_bad: true.")
    source = ArraySource(_columns(sound, columns), name=file)
    source.dropped = report_skipped(file, problems, len(problems) + len(sound))
    return _split(source, split, held_out, seed)


def read_csv(file: str | Path) -> list[tuple[int, list[str]]]:
    """The records of a CSV file that are not empty, each with the number of its last line."""
    content = read_packed(file)
    if not content.whole:
        raise ConfigError(f"{file}: expected a whole gzip file, got one that is cut short. Fetch the file again.")
    try:
        reader = csv_format.reader(content.data.decode("utf-8-sig").splitlines(keepends=True))
        records = [(reader.line_num, [cell.strip() for cell in record]) for record in reader if record]
    except (UnicodeDecodeError, csv_format.Error) as error:
        raise ConfigError(f"{file}: expected CSV text in UTF-8, got {error}. Write the file again as UTF-8.") from error
    if not records:
        raise ConfigError(f"{file}: expected at least one record, got an empty file. Check the path.")
    return records


def number(cell: str) -> float:
    """The number in a cell, or NaN."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _position(file: str, names: tuple[str, ...], target: str | int | None) -> int | None:
    """The position of the target column."""
    if target is None or target in names:
        return None if target is None else names.index(target)
    if isinstance(target, int) and -len(names) <= target < len(names):
        return target % len(names)
    raise ConfigError(
        f"{file}: expected the target among the columns {', '.join(names)}, got {target!r}."
        f"{did_you_mean(str(target), names)} Name one, or give its position."
    )


def _columns(records: list[list[str]], columns: Columns) -> Arrays:
    """The columns of sound records as `x` and `y`."""
    chosen = [i for i in range(len(columns.names)) if i != columns.target]
    arrays = {"x": np.array([[float(record[i]) for i in chosen] for record in records], np.float32)}
    if columns.target is None:
        return arrays
    cells = [record[columns.target] for record in records]
    if columns.labels:
        classes = sorted(set(cells), key=lambda cell: (math.isnan(number(cell)), np.nan_to_num(number(cell)), cell))
        return arrays | {"y": np.array([classes.index(cell) for cell in cells], np.int32)}
    return arrays | {"y": np.array([float(cell) for cell in cells], np.float32)}


def _split(source: ArraySource, split: str, held_out: float, seed: int) -> ArraySource:
    """A split of a source, which still knows how many records were left out of the whole."""
    part = subset(source, seeded_rows(source.name, split, len(source), held_out, seed))
    part.dropped = source.dropped
    return part
