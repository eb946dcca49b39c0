"""`artifex plugins`: what is installed, and what became of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from artifex.core.cli.listing import table
from artifex.core.plugins.loader import Plugin, installed_plugins
from artifex.core.plugins.origin import origin


def run(argv: Sequence[str]) -> int:
    """List the plugins; exit code 1 where one is broken or incompatible."""
    parser = argparse.ArgumentParser(
        "artifex plugins", description="Installed plugins.", epilog="example: artifex plugins"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    found = installed_plugins()
    if arguments.json:
        print(json.dumps({"schema": 1, "plugins": [facts(plugin) for plugin in found]}))
    else:
        rows = [(p.identity, p.version, p.status, origin(p.distribution), p.problem or p.summary) for p in found]
        table([("plugin", "version", "status", "origin", "summary or problem"), *rows])
    return 1 if any(plugin.status in ("broken", "incompatible") for plugin in found) else 0


def facts(plugin: Plugin) -> dict[str, str]:
    """A plugin as plain values."""
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.module,
        "status": plugin.status,
        "origin": origin(plugin.distribution),
        "summary": plugin.summary,
        "stage": plugin.stage,
        "problem": plugin.problem,
    }
