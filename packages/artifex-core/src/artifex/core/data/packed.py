"""Files that may be packed with gzip."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

from artifex.core.errors import ConfigError

MAGIC = b"\x1f\x8b"
WBITS = 31  # tells zlib to expect a gzip header


class Content(NamedTuple):
    """What a file holds."""

    data: bytes
    whole: bool = True  # False: the packed file ends too early, and `data` is what could be unpacked


def read_packed(path: str | Path) -> Content:
    """The content of a file, unpacked if it is gzip.

    Raises:
        ConfigError: it cannot be read or unpacked.
    """
    try:
        data = Path(path).read_bytes()
        return unpack(data) if data[:2] == MAGIC else Content(data)
    except (OSError, zlib.error) as error:
        raise ConfigError(
            f"{path}: expected a data file, got {error}. Check the path, or fetch the file again."
        ) from error


def unpack(packed: bytes) -> Content:
    """The content of gzip members, one after another."""
    parts = []
    while packed[:2] == MAGIC:
        member = zlib.decompressobj(wbits=WBITS)
        parts.append(member.decompress(packed))
        if not member.eof:
            return Content(b"".join(parts), whole=False)
        packed = member.unused_data
    return Content(b"".join(parts))
