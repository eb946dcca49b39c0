"""Where a distribution comes from, and whether another one writes into our folders."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, NamedTuple, cast

import importlib_metadata


class Claim(NamedTuple):
    """A file of the namespace that a distribution brings and should not."""

    distribution: str
    file: str


def origin(distribution: str) -> str:
    """`editable PATH`, `folder PATH`, `vcs URL@COMMIT`, `file URL`, or `index`."""
    try:
        found: Any = importlib_metadata.distribution(distribution).origin
    except importlib_metadata.PackageNotFoundError:
        return "unknown"
    if found is None:
        return "index"
    about = cast(dict[str, Any], vars(found))
    url: str = about["url"]
    if "dir_info" in about:
        details = cast(dict[str, Any], vars(about["dir_info"]))
        return f"{'editable' if details.get('editable') else 'folder'} {url.removeprefix('file://')}"
    if "vcs_info" in about:
        details = cast(dict[str, Any], vars(about["vcs_info"]))
        return f"vcs {url}@{details['commit_id'][:12]}"
    return f"file {url}"


def foreign_claims() -> tuple[Claim, ...]:
    """Files by which another distribution hides or overwrites ours: `artifex/__init__.py`, all of `artifex/core`."""
    found: Any = importlib_metadata.distributions()  # pyright: ignore[reportUnknownMemberType]
    return tuple(
        Claim(distribution.name, str(file))
        for distribution in found
        for file in distribution.files or ()
        if file.parts[:1] == ("artifex",) and _is_ours(file, distribution.name)
    )


def _is_ours(file: PurePath, distribution: str) -> bool:
    """Whether only core may bring this file, and it is another distribution that does."""
    return file.parts[1:] == ("__init__.py",) or (file.parts[1:2] == ("core",) and distribution != "artifex-core")
