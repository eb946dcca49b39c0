"""`artifex compare A B`: two evaluated runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from artifex.core.cli.listing import table
from artifex.core.errors import RunError
from artifex.core.evaluation.ledger import compare, existing


def run(argv: Sequence[str]) -> int:
    """Print a verdict a metric; exit code 1 where one is what `--fail-on` names."""
    parser = argparse.ArgumentParser(
        "artifex compare", description="Compare two runs that were evaluated: B against A.",
        epilog="example: artifex compare runs/a runs/b --fail-on regressed",
    )  # fmt: skip
    parser.add_argument("a", help="a run's folder")
    parser.add_argument("b", help="another one")
    parser.add_argument("--fail-on", choices=["regressed", "same"], help="exit with 1 at this verdict")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    with existing(Path(arguments.a) / "ledger.sqlite") as a, existing(Path(arguments.b) / "ledger.sqlite") as b:
        first, second = a.newest(), b.newest()
    shared = [metric for metric in first if metric in second]
    if not shared:
        raise RunError(f"compare: expected a metric that both runs have, got {sorted(first)} and {sorted(second)}.")
    found = [compare(first[metric], second[metric]) for metric in shared]
    if arguments.json:
        print(json.dumps({"schema": 1, "comparisons": [row._asdict() for row in found]}))
    else:
        rows = [(c.metric, f"{c.a:.4f}", f"{c.b:.4f}", c.verdict) for c in found]
        table([("metric", "A", "B", "B is"), *rows])
    return 1 if any(c.verdict == arguments.fail_on for c in found) else 0
