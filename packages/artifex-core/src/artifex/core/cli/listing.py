"""`artifex list-…`: what is installed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from artifex.core.plugins.loader import records
from artifex.core.registry import Registered
from artifex.core.registry import list_models as registered


def list_models(argv: Sequence[str]) -> int:
    """Models, with the distribution that brings each; exit code 3 where two claim one name."""
    arguments = _parse("list-models", "Models that are installed.", argv)
    models = registered()
    rows = [
        {
            "name": m.name, "family": m.record.family, "distribution": m.distribution, "version": m.version,
            "summary": m.record.summary, "paper": m.record.paper, "year": m.record.year,
            "modalities": list(m.record.modalities), "capabilities": list(m.record.capabilities),
        }
        for m in models
    ]  # fmt: skip
    if arguments.json:
        print(json.dumps({"schema": 1, "models": rows}))
    elif rows:
        cells = [(r["name"], r["family"], r["distribution"], str(r["year"] or ""), r["summary"]) for r in rows]
        table([("model", "family", "from", "year", "summary"), *cells])
    else:
        print("No models are installed. Every family at once: pip install 'artifex-core[all]'", file=sys.stderr)
    return say_conflicts(models)


def say_conflicts(models: Sequence[Registered]) -> int:
    """A line on stderr for each name that two distributions claim; the exit code, 3 if there is one."""
    claims = [(m.name, m.distribution) for m in models if m.conflict]
    for name in dict.fromkeys(name for name, _ in claims):
        owners = [owner for claimed, owner in claims if claimed == name]
        choices = " or ".join(f"{owner}:{name}" for owner in owners)
        print(
            f"artifex: expected one distribution with a model {name!r}, got {' and '.join(owners)}. Write {choices}.",
            file=sys.stderr,
        )
    return 3 if claims else 0


def list_modalities(argv: Sequence[str]) -> int:
    """Kinds of data."""
    return _list("list-modalities", "modalities", argv)


def list_metrics(argv: Sequence[str]) -> int:
    """Metrics."""
    return _list("list-metrics", "metrics", argv)


def list_datasets(argv: Sequence[str]) -> int:
    """Data sets."""
    return _list("list-datasets", "datasets", argv)


def list_extensions(argv: Sequence[str]) -> int:
    """Model extensions."""
    return _list("list-extensions", "extensions", argv)


def _list(command: str, kind: str, argv: Sequence[str]) -> int:
    arguments = _parse(command, f"Installed {kind}.", argv)
    found = sorted((record.name, plugin.distribution, record.summary) for plugin, record in records(kind))
    if arguments.json:
        rows = [{"name": name, "distribution": owner, "summary": summary} for name, owner, summary in found]
        print(json.dumps({"schema": 1, kind: rows}))
    elif found:
        table([(kind.rstrip("s"), "from", "summary"), *found])
    else:
        print(f"No {kind} are installed.", file=sys.stderr)
    return 0


def _parse(command: str, text: str, argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        f"artifex {command}", description=text, epilog=f"example: artifex {command} --json"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(argv)


def table(rows: Sequence[Sequence[Any]]) -> None:
    """Print rows in columns."""
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
