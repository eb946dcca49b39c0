"""Where a distribution comes from: an editable folder, a repository, or an index."""

from __future__ import annotations

from typing import Any, cast

import importlib_metadata


def origin(distribution: str) -> str:
    """`editable PATH`, `vcs URL@COMMIT`, `file URL`, or `index`."""
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
