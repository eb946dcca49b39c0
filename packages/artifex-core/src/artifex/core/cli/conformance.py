"""`artifex conformance NAME`: does a model keep the contract?"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from collections.abc import Sequence

from artifex.core.cli.listing import table
from artifex.core.registry import model_record


def run(argv: Sequence[str]) -> int:
    """Run every check of a model; exit code 1 where one fails."""
    parser = argparse.ArgumentParser(
        "artifex conformance",
        description="Check that a model keeps the contract.",
        epilog="example: artifex conformance vae",
    )
    parser.add_argument("name", help="a model; see artifex list-models")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    model_record(arguments.name)
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")  # before jax starts: the sharded check wants several devices
    outcomes = importlib.import_module("artifex.core.testing.kit").run_checks(arguments.name)
    if arguments.json:
        print(json.dumps({"schema": 1, "model": arguments.name, "checks": [o._asdict() for o in outcomes]}))
    else:
        table([("check", "outcome", ""), *outcomes])
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0
