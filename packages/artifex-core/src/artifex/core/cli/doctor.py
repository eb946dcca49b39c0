"""`artifex doctor`: what this installation has, and what is wrong with it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from artifex.core.cli.listing import say_conflicts
from artifex.core.cli.plugins import facts
from artifex.core.plugins.loader import installed_plugins
from artifex.core.plugins.origin import foreign_claims
from artifex.core.registry import list_models

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "pluggy",
    "safetensors",
    "grain",
    "scikit-learn",
)
OPTIONAL = {"tensorboardX": "tensorboard", "wandb": "wandb"}
DEVICES = "import jax; print(', '.join(str(d) for d in jax.devices()))"
PATIENCE = 120.0  # seconds; a driver that hangs is as broken as one that ends the process


def run(argv: Sequence[str]) -> int:
    """Print versions, devices and plugins with their errors; exit code 1 where something is wrong, 3 on a conflict."""
    parser = argparse.ArgumentParser(
        "artifex doctor", description="What is installed, and what is wrong with it.", epilog="example: artifex doctor"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    about = examine()
    if arguments.json:
        print(json.dumps({"schema": 1, **about}))
    else:
        _print(about)
    wrong = [plugin for plugin in about["plugins"] if plugin["status"] in ("broken", "incompatible")]
    conflict = say_conflicts(list_models()) or (3 if about["foreign"] else 0)
    return conflict or (1 if wrong or about["devices"] is None else 0)


def examine() -> dict[str, Any]:
    """Everything that the command tells."""
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "devices": devices(),
        "versions": {name: _version(name) for name in (*PACKAGES, *OPTIONAL)},
        "plugins": [facts(plugin) | {"details": plugin.details} for plugin in installed_plugins()],
        "conflicts": sorted({model.name for model in list_models() if model.conflict}),
        "foreign": [claim._asdict() for claim in foreign_claims()],
    }


def devices() -> str | None:
    """What jax finds, asked in a process of its own, because a broken driver may end it; None if it does not start."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", DEVICES], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _print(about: dict[str, Any]) -> None:
    print(f"python    {about['python']} at {about['executable']}\nplatform  {about['platform']}")
    print(f"devices   {about['devices'] or 'jax does not start; try: python -c ' + repr(DEVICES)}")
    for name, version in about["versions"].items():
        hint = f"pip install 'artifex-core[{OPTIONAL[name]}]'" if name in OPTIONAL else "missing"
        print(f"  {name:<18} {version or '- (' + hint + ')'}")
    for plugin in about["plugins"]:
        name = f"{plugin['distribution']}:{plugin['name']} {plugin['version']}"
        print(f"plugin    {name} is {plugin['status']} ({plugin['origin']})")
        if plugin["problem"]:
            print(f"          {plugin['problem']}\n{plugin['details']}")
    for name in about["conflicts"]:
        print(f"conflict  two distributions claim the model {name!r}; write DIST:{name}")
    for claim in about["foreign"]:
        print(f"foreign   {claim['distribution']} brings {claim['file']}; uninstall it, then reinstall artifex-core")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
