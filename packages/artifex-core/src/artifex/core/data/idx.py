"""IDX files, the format of MNIST.

    00 00 type axes | axes sizes, 4 bytes each | numbers            all of it big-endian, possibly packed with gzip

References:
    [1] LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document recognition, 1998,
        doi:10.1109/5.726791
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from artifex.core.data.packed import read_packed
from artifex.core.data.pictures import Binarise, labelled_pictures
from artifex.core.data.source import ArraySource, subset
from artifex.core.data.split import check_split, seeded_rows
from artifex.core.errors import ConfigError
from artifex.core.testing.paths import data_folder

DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file.

    Raises:
        ConfigError: no such file, another format, or more or fewer bytes than its header promises.
    """
    content = read_packed(path).data  # a file that is cut short is measured below
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in DTYPES or content[3] == 0:
        raise ConfigError(
            f"{path}: expected an IDX file, which starts with 00 00 type axes, got {content[:4].hex(' ') or 'none'}. "
            "Check the path."
        )
    header = 4 + 4 * content[3]
    sizes = content[4:header].ljust(header - 4, b"\0")
    shape, dtype = struct.unpack(f">{content[3]}I", sizes), np.dtype(DTYPES[content[2]])
    expected = header + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise ConfigError(
            f"{path}: expected {expected} bytes for shape {shape}, got {len(content)}. Fetch the file again."
        )
    return np.frombuffer(content, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def mnist(
    split: str = "train", *, folder: str | None = None, binarise: Binarise = "none", flat: bool = False
) -> ArraySource:
    """MNIST [1] from its four IDX files: 60,000 pictures to train on and 10,000 held out, [28, 28, 1].

    Args:
        folder: where they lie, packed or not; by default `mnist` in the folder that the variable ARTIFEX_DATA names.
        binarise: leave grey levels; 1 from one half on; or draw each pixel (see `pictures`).
        flat: vectors of 784 instead of pictures.
    """
    check_split("mnist", split, MNIST_FILES)
    root = Path(folder) if folder is not None else _default_folder("mnist")
    x, y = read_labelled(*(find_idx(root, name) for name in MNIST_FILES[split]))
    return labelled_pictures(x, y, name="mnist", levels=256, binarise=binarise, flat=flat, fresh=split == "train")


def idx(
    split: str = "train",
    *,
    images: str,
    labels: str | None = None,
    binarise: Binarise = "none",
    flat: bool = False,
    held_out: float = 0.2,
    seed: int = 0,
) -> ArraySource:
    """Grey pictures of one byte a pixel from an IDX file, with labels from 0 to 9 from another.

    Args:
        held_out: share of the rows that is the test split, in an order that `seed` gives.
    """
    x, y = read_labelled(images, labels)
    source = labelled_pictures(
        x, y, name=Path(images).name.partition(".")[0], levels=256, binarise=binarise, flat=flat, fresh=split != "test"
    )
    return subset(source, seeded_rows(source.name, split, len(source), held_out, seed))


def read_labelled(images: str | Path, labels: str | Path | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Pictures in [0, 1], [row, height, width, 1], and their labels, of two IDX files that belong together."""
    pixels = read_idx(images)
    if pixels.ndim != 3 or pixels.dtype != np.uint8:
        raise ConfigError(
            f"{images}: expected grey pictures [row, height, width] of uint8, got {list(pixels.shape)} of "
            f"{pixels.dtype}. Name the file of the pictures."
        )
    x = (pixels / np.float32(255))[..., None]
    y = None if labels is None else read_idx(labels).astype(np.int32)
    if y is not None and (y.shape != (len(x),) or not np.isin(y, range(10)).all()):
        raise ConfigError(
            f"{labels}: expected {len(x)} labels from 0 to 9, as there are pictures, got shape {list(y.shape)} from "
            f"{y.min(initial=0)} to {y.max(initial=0)}. Take both files from one set."
        )
    return x, y


def find_idx(folder: Path, name: str) -> Path:
    """The file `name` in a folder, packed or not, with a dot before `idx` where some copies have one."""
    spellings = [folder / f"{stem}{end}" for stem in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    found = next((file for file in spellings if file.is_file()), None)
    if found is None:
        raise ConfigError(
            f"{folder}: expected the file {name} or {name}.gz, got neither. Put it there, or set data.folder or the "
            "variable ARTIFEX_DATA."
        )
    return found


def _default_folder(name: str) -> Path:
    root = data_folder()
    if root is None:
        raise ConfigError(
            f"{name}: expected a folder with the data files, got none. Set data.folder, or the variable ARTIFEX_DATA "
            f"to the folder that holds {name!r}."
        )
    return root / name
