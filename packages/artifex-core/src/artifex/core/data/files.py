"""Data from files: IDX (MNIST), npz, CSV, folders of pictures.

A bad record names the file and the record, and stops; `skip_bad` leaves such records out and counts them in the
source's `dropped`.
"""

from __future__ import annotations

import csv as csv_format
import gzip
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from artifex.core.data.digits import Binarise, pictures, split_rows
from artifex.core.data.source import ArraySource
from artifex.core.data.spec import DataSpec
from artifex.core.errors import ConfigError
from artifex.core.testing.paths import data_folder

IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read_bytes(path: str | Path) -> bytes:
    """The content of a file, unpacked if it is gzip.

    Raises:
        ConfigError: there is no such file, or it is cut short.
    """
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError) as error:
        raise ConfigError(f"{path}: expected a data file, got {error}. Check the path, or fetch the file again.") from error


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file: two zero bytes, type, number of axes, sizes (big-endian), numbers."""
    content = read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise ConfigError(f"{path}: expected an IDX file, which starts with 00 00 type axes, got {content[:4].hex(' ')}.")
    axes = content[3]
    header = 4 + 4 * axes
    shape = struct.unpack(f">{axes}I", content[4:header]) if len(content) >= header else ()
    dtype = np.dtype(IDX_TYPES[content[2]])
    expected = header + int(np.prod(shape)) * dtype.itemsize
    if len(content) != expected or not shape:
        raise ConfigError(f"{path}: expected {expected} bytes for shape {shape}, got {len(content)}. Fetch the file again.")
    return np.frombuffer(content, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def mnist(
    split: str = "train", *, folder: str | None = None, binarise: Binarise = "none", flat: bool = False
) -> ArraySource:
    """MNIST from a folder with its four IDX files: 60,000 to train on and 10,000 held out.

    Args:
        folder: by default `mnist` in the folder that ARTIFEX_DATA names.
    """
    if split not in MNIST_FILES:
        raise ConfigError(f"mnist: expected the split train or test, got {split!r}.")
    root = Path(folder) if folder is not None else _default_folder("mnist")
    images, labels = (read_idx(_present(root, name)) for name in MNIST_FILES[split])
    if len(images) != len(labels):
        raise ConfigError(f"mnist: expected as many labels as pictures, got {len(labels)} and {len(images)} in {root}.")
    x = (images / np.float32(255)).astype(np.float32)[..., None]
    return pictures("mnist", x, labels.astype(np.int32), levels=256, split=split, binarise=binarise, flat=flat)


def _default_folder(name: str) -> Path:
    root = data_folder()
    if root is None:
        raise ConfigError(
            f"{name}: expected a folder with the data files, got none. Set data.folder, or the variable ARTIFEX_DATA to "
            f"the folder that holds {name!r}."
        )
    return root / name


def _present(folder: Path, name: str) -> Path:
    """The file `name`, packed or not, with a dot where some copies have one."""
    variants = [folder / f"{stem}{end}" for stem in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    found = next((file for file in variants if file.is_file()), None)
    if found is None:
        raise ConfigError(f"{folder}: expected the file {name} or {name}.gz, got neither. Fetch it, or mend data.folder.")
    return found


def npz(split: str = "train", *, file: str, held_out: float = 0.2, seed: int = 0) -> ArraySource:
    """The arrays of an npz file, `x` and perhaps `y`; a share `held_out` of the rows is the test split."""
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise ConfigError(f"{file}: expected an npz file of plain arrays, got {error}.") from error
    if "x" not in arrays:
        raise ConfigError(f"{file}: expected an array 'x', got {sorted(arrays)}. Rename the data array.")
    return _split(arrays, Path(file).stem, split, held_out, seed)


def csv(
    split: str = "train",
    *,
    file: str,
    header: bool = True,
    target: str | None = None,
    skip_bad: bool = False,
    held_out: float = 0.2,
    seed: int = 0,
) -> ArraySource:
    """The numbers of a CSV file; the column `target`, by name or position, becomes `y`."""
    lines = read_bytes(file).decode("utf-8").splitlines()
    rows = list(csv_format.reader(lines))
    names = rows[0] if header and rows else [str(i) for i in range(len(rows[0]) if rows else 0)]
    numbers: list[list[float]] = []
    dropped = 0
    for line, row in enumerate(rows[1:] if header else rows, start=2 if header else 1):
        if not row:
            continue
        problem = _bad_record(row, len(names))
        if problem and not skip_bad:
            raise ConfigError(f"{file}:{line}: expected {len(names)} numbers, got {problem}. Mend it, or set skip_bad.")
        if problem:
            dropped += 1
        else:
            numbers.append([float(cell) for cell in row])
    table = np.array(numbers, np.float32).reshape(-1, len(names))
    if target is not None and target not in names:
        raise ConfigError(f"{file}: expected the target among the columns {names}, got {target!r}.")
    columns = [i for i, name in enumerate(names) if name != target]
    arrays = {"x": table[:, columns]} | ({} if target is None else {"y": table[:, names.index(target)]})
    source = _split(arrays, Path(file).stem, split, held_out, seed)
    source.dropped += dropped
    return source


def _bad_record(row: list[str], width: int) -> str:
    """What is wrong with a record; nothing if it is sound."""
    if len(row) != width:
        return f"{len(row)} values"
    for cell in row:
        try:
            float(cell)
        except ValueError:
            return f"{cell!r}"
    return ""


def image_folder(
    split: str = "train",
    *,
    folder: str,
    size: int = 32,
    channels: int = 3,
    skip_bad: bool = False,
    held_out: float = 0.2,
    seed: int = 0,
) -> ArraySource:
    """Pictures below a folder, scaled to size × size; each sub-folder is a class, in alphabetical order."""
    root = Path(folder)
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".gif"))
    if not files:
        raise ConfigError(f"{folder}: expected pictures (png, jpg, bmp, gif), got none. Check data.folder.")
    classes = sorted({file.parent.name for file in files if file.parent != root})
    loaded: list[tuple[np.ndarray, int]] = []
    dropped = 0
    for file in files:
        picture = _picture(file, size, channels, skip_bad=skip_bad)
        if picture is None:
            dropped += 1
        else:
            loaded.append((picture, classes.index(file.parent.name) if file.parent != root else 0))
    arrays = {"x": np.stack([x for x, _ in loaded])}
    if len(classes) > 1:
        arrays["y"] = np.array([y for _, y in loaded], np.int32)
    spec = DataSpec(
        shape=(size, size, channels), low=0.0, high=1.0, levels=256, kind="image",
        n_classes=len(classes) if len(classes) > 1 else None, condition_shape=() if len(classes) > 1 else None,
    )  # fmt: skip
    source = _split(arrays, root.name, split, held_out, seed, spec)
    source.dropped += dropped
    return source


def _picture(file: Path, size: int, channels: int, *, skip_bad: bool) -> np.ndarray | None:
    """A picture in [0, 1], [size, size, channels]; None for a bad one that may be left out."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            scaled = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]).resize((size, size), Image.Resampling.LANCZOS)
        return (np.asarray(scaled, np.float32) / 255).reshape(size, size, channels)
    except (OSError, SyntaxError) as error:
        if skip_bad:
            return None
        raise ConfigError(f"{file}: expected a picture, got {error}. Mend or remove it, or set skip_bad.") from error


def _split(
    arrays: dict[str, Any], name: str, split: str, held_out: float, seed: int, spec: DataSpec | None = None
) -> ArraySource:
    """One split of the rows, in an order that the seed gives."""
    n = len(arrays["x"])
    order = np.random.default_rng(seed).permutation(n)
    rows = order[split_rows(name, split, n - round(n * held_out), n)]
    return ArraySource({key: value[rows] for key, value in arrays.items()}, spec, name=name)
