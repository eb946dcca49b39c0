"""`artifex evaluate RUN`: metrics on held-out data, and a report."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artifex.core.cli.listing import table
from artifex.core.cli.run_files import open_folder
from artifex.core.data.load import load_dataset
from artifex.core.errors import ConfigError
from artifex.core.evaluation.ledger import Ledger
from artifex.core.evaluation.pipeline import EvaluationPipeline, EvaluationResult
from artifex.core.evaluation.report import write_report
from artifex.core.training.run_dir import RunDir

KEYS = ("metric", "value", "ci_low", "ci_high", "n", "data", "extractor")
EXAMPLES = """\
examples:
  artifex evaluate runs/a
  artifex evaluate runs/a --metric FD --metric scores -n 1000 --json
  artifex evaluate runs/a --data '{type: digits, binarise: threshold}' --split test
"""


def run(argv: Sequence[str]) -> int:
    """Evaluate; a table or JSON goes to stdout, the report and the ledger into the folder."""
    parser = argparse.ArgumentParser(
        "artifex evaluate", description="Evaluate a run on held-out data.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("run", help="a run's folder, or a saved model's")
    parser.add_argument("--data", help="a data set's name or {type: NAME, ...}; the run's own when left out")
    parser.add_argument("--split", default="test", help="of the data (test)")
    parser.add_argument(
        "--metric", action="append", dest="metrics", help="may be repeated; all that apply when left out"
    )
    parser.add_argument("-n", type=int, dest="n_samples", help="samples to draw (as many as data, at most 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of all noise (0)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-report", action="store_true", help="write nothing into the folder")
    arguments = parser.parse_args(argv)
    opened = open_folder(arguments.run)
    data = parsed_data(arguments.data) if arguments.data else opened.run.data if opened.run else None
    if data is None:
        raise ConfigError("--data: expected a data set, got none, and the folder names none. Add: --data digits")
    asked = opened.run.evaluation if opened.run is not None and opened.run.evaluation else {}
    pipeline = EvaluationPipeline(
        arguments.metrics or asked.get("metrics") or "auto",
        n_samples=arguments.n_samples or asked.get("n_samples"),
        seed=arguments.seed,
    )
    found = pipeline.evaluate(opened.model, load_dataset(data, arguments.split))
    if not arguments.no_report:
        _keep(Path(arguments.run), found)
    if arguments.json:
        print(json.dumps({"schema": 1, "results": [{key: getattr(row, key) for key in KEYS} for row in found.results]}))
    else:
        print_results(found)
    return 0


def parsed_data(text: str) -> Any:
    """A name, or a mapping written as YAML."""
    import yaml

    return yaml.safe_load(text)


def _keep(folder: Path, found: EvaluationResult) -> None:
    """Report and ledger beside the run."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.add(found)
    history = RunDir(folder).read_metrics()
    write_report(found, folder, history)


def print_results(found: EvaluationResult) -> None:
    """A table of the results, and what was left out."""
    rows = [("metric", "value", "95 % interval", "n", "better")]
    for r in found.results:
        better = "higher" if r.higher_is_better else "lower"
        rows.append((r.metric, f"{r.value:.4f}", f"{r.ci_low:.4f} to {r.ci_high:.4f}", str(r.n), better))
    table(rows)
    for metric, reason in found.skipped:
        print(f"left out: {metric} ({reason})")
