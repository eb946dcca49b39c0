"""Distributions that seem to be installed, and the program as a child: for tests of plugins."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# Through the console script's module, because a wheel may have been installed without its script.
PROGRAM = "import sys; from _artifex_cli import main; sys.exit(main())"


def pretend_install(site: Path, distribution: str, source: str, *, version: str = "1.0", entry: str = "main") -> str:
    """Write a plugin's module and the metadata that an installer would leave; the module's name."""
    module = f"{distribution}_{entry}".replace("-", "_")
    (site / f"{module}.py").write_text(source, encoding="utf8")
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    about = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    (info / "METADATA").write_text(about, encoding="utf8")
    points = info / "entry_points.txt"
    head = points.read_text(encoding="utf8") if points.exists() else "[artifex]\n"
    points.write_text(f"{head}{entry} = {module}\n", encoding="utf8")
    return module


def plugin_source(*models: str, target: str = "somewhere:Thing") -> str:
    """The module of a sound plugin that brings models by these names."""
    return f"""
from artifex.core.plugins import ModelRecord, PluginInfo, hookimpl

PLUGIN = PluginInfo(api=(1, 0), summary="sound")

@hookimpl
def register_models():
    return [
        ModelRecord(name, "made up", {target!r}, {target + "Config"!r}, "a model", "a paper", 2020, "somewhere:example")
        for name in {models!r}
    ]
"""


def run_program(*argv: str, site: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """`artifex ARGV` in a process of its own, with the folder `site` on its path and these environment variables."""
    return run_python(PROGRAM, *argv, site=site, **variables)


def run_python(code: str, *argv: str, site: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        capture_output=True,
        text=True,
        check=False,
        env=environment(site, variables),
    )


def environment(site: Path | None, variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, without what would steer plugins, with `site` first on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARTIFEX_")}
    path = [str(site)] if site is not None else []
    path += [old for old in [kept.get("PYTHONPATH", "")] if old]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), **variables}
