"""`artifex config check|schema|diff`: config files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from artifex.core.cli.run_files import config_arguments, read_settings, split_of
from artifex.core.config_text import read_config
from artifex.core.overrides import differences, json_schema
from artifex.core.registry import load_target, model_record
from artifex.core.training.config import TrainerConfig

EXAMPLES = """\
examples:
  artifex config check vae.yaml
  artifex config schema vae
  artifex config diff runs/a/config.yaml runs/b/config.yaml
"""


def run(argv: Sequence[str]) -> int:
    """Check a config, print a schema, or show how two configs differ (exit code 1 if they do)."""
    parser = argparse.ArgumentParser(
        "artifex config",
        description="Config files.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    config_arguments(commands.add_parser("check", help="say everything that is wrong with a config"))
    schema = commands.add_parser("schema", help="print the JSON schema of a model's config, or of 'trainer'")
    schema.add_argument("name", help="a model, or 'trainer'")
    diff = commands.add_parser("diff", help="show how two configs differ")
    diff.add_argument("a")
    diff.add_argument("b")
    arguments = parser.parse_args(argv)
    return {"check": check, "schema": show_schema, "diff": show_diff}[arguments.command](arguments)


def check(arguments: argparse.Namespace) -> int:
    """Read the config, and look the data up."""
    config = read_settings(arguments.config, arguments.settings)
    if config.data is not None:
        split_of(config, "train")
    print(f"{arguments.config}: sound")
    return 0


def show_schema(arguments: argparse.Namespace) -> int:
    """Print a schema."""
    cls = TrainerConfig if arguments.name == "trainer" else load_target(model_record(arguments.name).config)
    print(json.dumps(json_schema(cls), indent=2))
    return 0


def show_diff(arguments: argparse.Namespace) -> int:
    """Print a line for each difference."""
    found = list(differences(read_config(arguments.a).tree, read_config(arguments.b).tree))
    for path, a, b in found:
        print(f"{path}: {json.dumps(a)} -> {json.dumps(b)}")
    return 1 if found else 0
