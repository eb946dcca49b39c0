"""What is inside the wheels that the session `wheels` has built; ARTIFEX_WHEELS names their folder."""

from __future__ import annotations

import configparser
import email
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
LIMIT = 2 << 20  # bytes; sources are text

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("ARTIFEX_WHEELS" not in os.environ, reason="run by 'nox -s wheels', which builds them"),
]


@pytest.fixture(scope="module", params=NAMES)
def wheel(request):
    """One opened wheel and the name of its distribution."""
    (path,) = Path(os.environ["ARTIFEX_WHEELS"]).glob(f"{request.param.replace('-', '_')}-*.whl")
    with zipfile.ZipFile(path) as opened:
        opened.comment = request.param.encode()
        yield opened


def name_of(wheel):
    """The distribution's name."""
    return wheel.comment.decode()


def metadata(wheel, file):
    """The text of a file of the `.dist-info` folder."""
    (path,) = [name for name in wheel.namelist() if name.endswith(f".dist-info/{file}")]
    return wheel.read(path).decode()


def shipped(wheel):
    """Every file but the metadata."""
    return [name for name in wheel.namelist() if ".dist-info/" not in name]


def test_the_namespace_has_no_init(wheel):
    assert "artifex/__init__.py" not in wheel.namelist()


def test_there_is_one_package_in_the_namespace_and_nothing_beside_it(wheel):
    short = name_of(wheel).removeprefix("artifex-")
    guard = {"_artifex_cli.py"} if short == "core" else set()
    assert {name for name in shipped(wheel) if not name.startswith(f"artifex/{short}/")} == guard


def test_the_package_is_typed(wheel):
    assert f"artifex/{name_of(wheel).removeprefix('artifex-')}/py.typed" in wheel.namelist()


def test_there_is_one_entry_point_of_the_group(wheel):
    points = configparser.ConfigParser()
    points.read_string(metadata(wheel, "entry_points.txt"))
    short = name_of(wheel).removeprefix("artifex-")
    assert dict(points["artifex"]) == {short: f"artifex.{short}._plugin"}
    assert dict(points["console_scripts"] if short == "core" else {}) == (
        {"artifex": "_artifex_cli:main"} if short == "core" else {}
    )


def test_only_sources_are_shipped(wheel):
    endings = {Path(name).suffix for name in shipped(wheel)}
    assert endings <= {".py", ".pyi", ".typed", ".yaml", ".toml", ".txt", ".html", ".css", ".svg", ".npz", ".tmpl"}
    assert not any("test" in Path(name).parts for name in shipped(wheel))
    assert sum(info.file_size for info in wheel.infolist()) < LIMIT


def test_every_source_file_is_shipped(wheel):
    source = ROOT / "packages" / name_of(wheel) / "src"
    expected = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    assert {name for name in shipped(wheel) if name.endswith(".py")} == expected


def test_all_wheels_have_one_version():
    versions = {path.name.split("-")[1] for path in Path(os.environ["ARTIFEX_WHEELS"]).glob("*.whl")}
    assert len(versions) == 1


def test_the_metadata_hold_a_page_and_a_licence(wheel):
    fields = email.message_from_string(metadata(wheel, "METADATA"))
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["Requires-Python"] == ">=3.11"
    assert len(str(fields.get_payload())) > 200


@pytest.mark.parametrize("name", NAMES)
def test_the_sdist_holds_its_own_tests(name):
    (path,) = Path(os.environ["ARTIFEX_WHEELS"]).glob(f"{name.replace('-', '_')}-*.tar.gz")
    with tarfile.open(path) as opened:
        names = ["/".join(member.split("/")[1:]) for member in opened.getnames()]
    tests = {
        str(path.relative_to(ROOT / "packages" / name)) for path in (ROOT / "packages" / name / "tests").rglob("*.py")
    }
    assert tests <= set(names)
