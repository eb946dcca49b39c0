"""Listing is light: no array library is imported, and 200 more distributions cost little."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from artifex.core.cli.main import main
from artifex.core.data.builtin import DATASETS

HEAVY = ("jax", "jaxlib", "numpy", "flax", "optax", "orbax", "yaml", "rich")
LIST = "import _artifex_cli, sys; sys.argv = ['artifex', 'list-models']; _artifex_cli.main()"
COUNTED = f"""
import collections, json, os, sys

calls, opened = 0, collections.Counter()

def call(frame, event, arg):
    global calls
    calls += event == "call"

def seen(event, args):
    if event == "open" and "fake_" in str(args[0]):
        opened[os.path.basename(args[0])] += 1

sys.addaudithook(seen)
sys.setprofile(call)
{LIST}
sys.setprofile(None)
print(calls)
print(json.dumps(opened))
"""


def run(code: str, path: str = "") -> list[str]:
    """The lines that a child prints."""
    env = {**os.environ, "PYTHONPATH": path} if path else dict(os.environ)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    return done.stdout.splitlines()


def test_list_models_imports_nothing_heavy():
    lines = run(f"{LIST}; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert lines[-1] == "[]"
    assert "artifex-core" not in lines[0]


def test_a_foreign_distribution_costs_one_small_file(tmp_path):
    few = int(run(COUNTED)[-2])
    for i in range(200):
        folder = tmp_path / f"fake_{i}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fake-{i}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[console_scripts]\nfake{i} = fake{i}:main\n")
    *_, many, opened = run(COUNTED, str(tmp_path))
    assert json.loads(opened) == {"entry_points.txt": 200}
    assert int(many) - few <= 200 * 120  # Python calls, nearly all of importlib.metadata: 80 each on 3.11


def test_json_has_the_fields_that_programs_read(capsys):
    assert main(["list-models", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    fields = "name family distribution version summary paper year modalities capabilities"
    assert printed["schema"] == 1
    assert all(sorted(model) == sorted(fields.split()) for model in printed["models"])


@pytest.mark.parametrize("kind", ["modalities", "metrics", "datasets", "extensions"])
def test_the_other_lists_have_json_too(kind, capsys):
    assert main([f"list-{kind}", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    names = {row["name"] for row in printed[kind]}
    assert names >= ({record.name for record in DATASETS} if kind == "datasets" else set())


def test_completion_knows_commands_and_data_sets(capsys):
    for shell in ("bash", "zsh", "fish"):
        assert main(["completion", shell]) == 0
        assert " train resume generate evaluate " in capsys.readouterr().out


def test_a_blocked_plugin_brings_nothing(capsys):
    output = subprocess.run(
        [sys.executable, "-m", "_artifex_cli", "-p", "no:artifex-vae", "list-models", "--json"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert [m for m in json.loads(output)["models"] if m["distribution"] == "artifex-vae"] == []
