"""Pictures in a folder; each sub-folder is a class, in alphabetical order.

Pictures are scaled to size × size without regard to their shape, and their bytes to [0, 1]. One that cannot be read
stops with the name of its file; `skip_bad` leaves such files out, says how many, and counts them in `dropped`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from artifex.core.data.sequence import SequenceSource
from artifex.core.data.source import Arrays, ArraySource, Source
from artifex.core.data.spec import DataSpec
from artifex.core.data.split import report_skipped, seeded_rows
from artifex.core.errors import ConfigError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # PIL's names for bytes of so many channels


class BadPicture(ConfigError):
    """A file that holds no picture that can be used."""


@dataclass(frozen=True)
class PictureFiles:
    """Files of pictures as records, decoded when they are read."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]  # empty where the folder has no classes
    size: int
    channels: int

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> Arrays:
        """One picture, [size, size, channels], and its label."""
        x = read_picture(self.files[index], self.size, self.channels)
        return {"x": x, "y": np.asarray(self.labels[index], np.int32)} if self.labels else {"x": x}

    def part(self, indices: Iterable[int]) -> PictureFiles:
        """Some of the files."""
        chosen = list(indices)
        labels = tuple(self.labels[i] for i in chosen) if self.labels else ()
        return replace(self, files=tuple(self.files[i] for i in chosen), labels=labels)

    def sound(self) -> tuple[PictureFiles, list[str]]:
        """The files that can be read, and what is wrong with the others."""
        good, problems = [], []
        for index in range(len(self)):
            try:
                self[index]
            except BadPicture as error:
                problems.append(str(error))
            else:
                good.append(index)
        return self.part(good), problems


def image_folder(
    split: str = "train",
    *,
    folder: str,
    size: int = 32,
    channels: Literal[1, 3, 4] = 3,
    in_memory: bool = True,
    skip_bad: bool = False,
    held_out: float = 0.2,
    seed: int = 0,
) -> Source:
    """The pictures below a folder, with their classes if it has more than one sub-folder.

    Args:
        in_memory: decode all of them now; otherwise each when it is read, for folders that memory does not hold.
        skip_bad: leave out files that cannot be read.
        held_out: share of the files that is the test split, in an order that `seed` gives.
    """
    everything, classes = list_pictures(Path(folder), size, channels)
    pictures = everything.part(seeded_rows(folder, split, len(everything), held_out, seed))
    spec = DataSpec(
        shape=(size, size, channels),
        low=0.0,
        high=1.0,
        levels=256,
        kind="image",
        n_classes=len(classes) or None,
        condition_shape=() if classes else None,
    )
    pictures, problems = pictures.sound() if skip_bad else (pictures, [])
    n_dropped = report_skipped(folder, problems, len(pictures) + len(problems))
    lazy = SequenceSource(pictures, spec, name=folder, digest=files_digest(Path(folder), pictures.files))
    if not in_memory:
        return lazy
    source = ArraySource(lazy.take(np.arange(len(lazy))), spec, name=folder)
    source.dropped = n_dropped
    return source


def list_pictures(root: Path, size: int, channels: int) -> tuple[PictureFiles, tuple[str, ...]]:
    """The pictures below a folder in order of their paths, and the names of the classes, if there are at least two.

    Raises:
        ConfigError: there are none, or some lie in sub-folders and some do not.
    """
    files = tuple(sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES))
    if not files:
        raise ConfigError(f"{root}: expected pictures ({' '.join(SUFFIXES)}), got none. Check data.folder.")
    homes = [file.relative_to(root).parts[:-1] for file in files]
    classes = tuple(sorted({home[0] for home in homes if home}))
    if classes and not all(homes):
        stray = files[homes.index(())]
        raise ConfigError(
            f"{root}: expected every picture in the sub-folder of its class, got {stray}. Move it into one."
        )
    if len(classes) < 2:
        return PictureFiles(files, (), size, channels), ()
    return PictureFiles(files, tuple(classes.index(home[0]) for home in homes), size, channels), classes


def read_picture(file: Path, size: int, channels: int) -> Float[np.ndarray, "{size} {size} {channels}"]:
    """A picture in [0, 1], scaled.

    Raises:
        BadPicture: the file cannot be read, or has more than 8 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise BadPicture(f"{file}: expected 8 bits a channel, got mode {image.mode}. Convert the picture.")
            scaled = image.convert(MODES[channels]).resize((size, size), Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:  # what PIL's readers raise
        raise BadPicture(
            f"{file}: expected a picture, got {error}. Mend or remove it, or set skip_bad: true."
        ) from error
    return (np.asarray(scaled, np.float32) / 255).reshape(size, size, channels)


def files_digest(root: Path, files: tuple[Path, ...]) -> str:
    """SHA-256 over the names and sizes of files."""
    lines = (f"{file.relative_to(root)}\t{file.stat().st_size}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
