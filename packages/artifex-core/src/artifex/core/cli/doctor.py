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

from artifex.core.cli.plugins import facts
from artifex.core.plugins.loader import installed_plugins
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
OPTIONAL = {"tensorboardX": "tensorboard", "wandb": "wandb", "pyarrow": "parquet"}
DEVICES = "import jax; print(', '.join(str(d) for d in jax.devices()))"


def run(argv: Sequence[str]) -> int:
    """Print versions, devices and plugins with their errors; exit code 1 where something is wrong."""
    parser = argparse.ArgumentParser("artifex doctor", description="What is installed, and what is wrong with it.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    plugins, devices = installed_plugins(), _devices()
    conflicts = sorted({model.name for model in list_models() if model.conflict})
    wrong = [p for p in plugins if p.status in ("broken", "incompatible")]
    about: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": devices,
        "versions": {name: _version(name) for name in (*PACKAGES, *OPTIONAL)},
        "plugins": [facts(plugin) | {"details": plugin.details} for plugin in plugins],
        "conflicts": conflicts,
    }
    if arguments.json:
        print(json.dumps({"schema": 1, **about}))
    else:
        _print(about)
    return 3 if conflicts else 1 if wrong or devices is None else 0


def _print(about: dict[str, Any]) -> None:
    print(f"python    {about['python']} at {sys.executable}\nplatform  {about['platform']}")
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


def _devices() -> str | None:
    """What jax finds, asked in a process of its own, because a broken driver may end it."""
    done = subprocess.run([sys.executable, "-c", DEVICES], capture_output=True, text=True, check=False, timeout=120)
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
