"""Where a distribution comes from: an editable folder, a repository, or an index."""

from __future__ import annotations

import importlib_metadata


def origin(distribution: str) -> str:
    """`editable PATH`, `vcs URL@COMMIT`, `file URL`, or `index`."""
    try:
        found = importlib_metadata.distribution(distribution).origin
    except importlib_metadata.PackageNotFoundError:
        return "unknown"
    if found is None:
        return "index"
    about = vars(found)
    if "dir_info" in about:
        editable = vars(about["dir_info"]).get("editable", False)
        return f"{'editable' if editable else 'folder'} {found.url.removeprefix('file://')}"
    if "vcs_info" in about:
        return f"vcs {found.url}@{about['vcs_info'].commit_id[:12]}"
    return f"file {found.url}"
