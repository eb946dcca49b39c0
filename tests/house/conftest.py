"""The tree as the house tests read it: sources and tests parsed once, nothing of them imported."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Source(NamedTuple):
    """One parsed file."""

    path: str  # below the root
    module: str  # dotted name; "" for a test
    package: str  # "core", "vae", ...; "" for a test
    text: str
    tree: ast.Module

    @property
    def is_face(self) -> bool:
        """Whether this is an `__init__.py`."""
        return self.path.endswith("__init__.py")

    def at(self, node: ast.AST) -> str:
        """Where a node stands, as an editor likes it."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


def parse(path: Path) -> Source:
    """A file as a `Source`."""
    text = path.read_text(encoding="utf8")
    below = path.relative_to(ROOT)
    parts = below.with_suffix("").parts[below.parts.index("src") + 1 :] if "src" in below.parts else ()
    parts = parts[:-1] if parts and parts[-1] == "__init__" else parts
    package = parts[1] if parts[:1] == ("artifex",) else "core" if parts else ""
    return Source(str(below), ".".join(parts), package, text, ast.parse(text))


def imported(source: Source) -> Iterator[tuple[str, ast.stmt]]:
    """(module, statement) for every import that runs; `from a import b` gives both a and a.b."""
    typing_only = {
        id(inner)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import) and id(node) not in typing_only:
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and id(node) not in typing_only:
            yield str(node.module), node
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """What the distributions ship."""
    return [parse(path) for path in sorted(ROOT.glob("packages/*/src/**/*.py"))]


@pytest.fixture(scope="session")
def test_sources() -> list[Source]:
    """Every test file."""
    return [parse(path) for path in sorted({*ROOT.glob("packages/*/tests/**/*.py"), *ROOT.glob("tests/**/*.py")})]


@pytest.fixture(scope="session")
def imports(sources: list[Source]) -> list[tuple[Source, str, ast.stmt]]:
    """(importer, imported module, statement) over all sources."""
    return [(source, name, node) for source in sources for name, node in imported(source)]


@pytest.fixture(scope="session")
def projects() -> Mapping[str, Mapping[str, Any]]:
    """The `pyproject.toml` of each distribution, by name."""
    files = sorted(ROOT.glob("packages/*/pyproject.toml"))
    return {path.parent.name: tomllib.loads(path.read_text(encoding="utf8")) for path in files}


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """Text files that are, or are about to be, in the repository."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in map(ROOT.joinpath, names) if path.is_file()]
