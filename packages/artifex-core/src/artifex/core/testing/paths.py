"""Where real data lie, if they are there."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path | None:
    """The folder that ARTIFEX_DATA names, or `shared/data` in or beside a folder above; None if there is none."""
    named = os.environ.get("ARTIFEX_DATA")
    if named:
        return Path(named)
    for parent in (Path.cwd(), *Path.cwd().parents):
        folder = parent / "shared" / "data"
        if folder.is_dir():
            return folder
    return None
