"""`artifex new-plugin NAME`: a package with a working model of your own."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import keyword
import re
import string
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from artifex.core.errors import ConfigError
from artifex.core.registry import FIRST_PARTY, list_models

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
IMPORTED = ("Array", "Batch", "Data", "Float", "GenerativeModel", "ModelConfig", "TypedDict")  # by the template
FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "plugin.py.txt": "src/artifex/$module/_plugin.py",
    "init.py.txt": "src/artifex/$module/__init__.py",
    "model.py.txt": "src/artifex/$module/model.py",
    "typed.txt": "src/artifex/$module/py.typed",
    "conftest.py.txt": "conftest.py",
    "test_conformance.py.txt": "tests/test_conformance.py",
    "test_model.py.txt": "tests/test_model.py",
}


def run(argv: Sequence[str]) -> int:
    """Write the package; its folder goes to stdout."""
    parser = argparse.ArgumentParser(
        "artifex new-plugin", description="Write a package with a working model of your own.",
        epilog="example: artifex new-plugin artifex-mine && pip install -e artifex-mine && artifex conformance mine",
    )  # fmt: skip
    parser.add_argument("name", help="of the distribution, such as artifex-mine")
    parser.add_argument("--dir", default=".", help="the folder in which the package's folder is made (here)")
    arguments = parser.parse_args(argv)
    words = names(arguments.name)
    target = Path(arguments.dir) / arguments.name
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target}: expected a new or empty folder, got one that is in use. Choose another name.")
    write(target, words)
    print(target)
    return 0


def names(distribution: str) -> dict[str, str]:
    """What the templates call things, from the name of the distribution.

    Raises:
        ConfigError: no name of a distribution, or one whose module or model is taken.
    """
    module = distribution.removeprefix("artifex-").replace("-", "_")
    if not NAME.fullmatch(distribution) or distribution == "artifex":
        raise ConfigError(
            f"new-plugin: expected a name like artifex-mine (lower case, digits, hyphens), got {distribution!r}. "
            "The name 'artifex' belongs to someone else."
        )
    if keyword.iskeyword(module) or not module.isidentifier():
        raise ConfigError(
            f"new-plugin: expected a name whose module can be imported, got 'artifex.{module}'. Choose another."
        )
    models = {model.name for model in list_models()} | {name for names in FIRST_PARTY.values() for name in names}
    if distribution in FIRST_PARTY or module in models or importlib.util.find_spec(f"artifex.{module}") is not None:
        raise ConfigError(f"new-plugin: expected a free name, got {module!r}, which is taken. Choose another.")
    title = "".join(word.capitalize() for word in module.split("_"))
    title = f"{title}Model" if title in IMPORTED else title
    version = importlib.metadata.version("artifex-core")
    return {"distribution": distribution, "module": module, "title": title, "core": version}


def write(target: Path, words: Mapping[str, str]) -> None:
    """Fill in the templates."""
    templates = files("artifex.core.cli") / "templates"
    for template, path in FILES.items():
        file = target / string.Template(path).substitute(words)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = (templates / template).read_text(encoding="utf-8")
        file.write_text(string.Template(text).substitute(words), encoding="utf-8")
