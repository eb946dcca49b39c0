"""Where a distribution comes from, and who writes into our folders."""

import json

import pytest

from artifex.core.plugins.origin import Claim, foreign_claims, origin
from artifex.core.testing.distributions import pretend_install

URLS = {
    "editable": ({"url": "file:///code/mine", "dir_info": {"editable": True}}, "editable /code/mine"),
    "folder": ({"url": "file:///code/mine", "dir_info": {}}, "folder /code/mine"),
    "file": ({"url": "file:///wheels/mine.whl", "archive_info": {}}, "file file:///wheels/mine.whl"),
    "index": (None, "index"),
    "vcs": (
        {"url": "https://host.example/mine", "vcs_info": {"vcs": "git", "commit_id": "0123456789abcdef"}},
        "vcs https://host.example/mine@0123456789ab",
    ),
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that is searched for distributions."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", URLS)
def test_origin(site, kind):
    about, told = URLS[kind]
    pretend_install(site, f"from-{kind}", "")
    if about is not None:
        (site / f"from_{kind}-1.0.dist-info" / "direct_url.json").write_text(json.dumps(about))
    assert origin(f"from-{kind}") == told


def test_a_distribution_that_is_not_there():
    assert origin("no-such-distribution") == "unknown"


def test_files_that_belong_to_core_or_to_nobody_are_claimed(site):
    pretend_install(site, "stranger", "")
    files = ("artifex/__init__.py", "artifex/core/__init__.py", "artifex/stranger/__init__.py", "stranger_main.py")
    (site / "stranger-1.0.dist-info" / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).touch()
    assert foreign_claims() == (
        Claim("stranger", "artifex/__init__.py"),
        Claim("stranger", "artifex/core/__init__.py"),
    )
