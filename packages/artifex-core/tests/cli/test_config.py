"""`artifex config`: files are checked, described and compared."""

from __future__ import annotations

import json

import pytest

from artifex.core.cli.main import main

SOUND = "trainer: {steps: 3}\noptimizer: {learning_rate: 1e-3}\n"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "a.yaml"


def test_diff_prints_a_line_a_difference_and_exits_1(tmp_path, capsys):
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file, steps in zip(files, (3, 4), strict=True):
        file.write_text(SOUND.replace("3}", f"{steps}}}", 1))
    assert main(["config", "diff", *map(str, files)]) == 1
    assert capsys.readouterr().out.splitlines() == ["trainer.steps: 3 -> 4"]
    assert main(["config", "diff", str(files[0]), str(files[0])]) == 0


def test_the_trainer_s_schema_names_each_field_with_its_default(capsys):
    assert main(["config", "schema", "trainer"]) == 0
    properties = json.loads(capsys.readouterr().out)["properties"]
    assert properties["steps"] == {"type": "integer", "default": 1000}
    assert "adamw" in properties["optimizer"]["properties"]["name"]["enum"]


def test_check_tells_three_mistakes_in_three_lines_and_exits_2(file, capsys):
    pytest.importorskip("artifex.vae", reason="a config has a model")
    file.write_text(
        "model: {type: vae, latent_dimm: 3}\ndata: digits\ntrainer: {steps: many}\noptimizer: {name: adamm}\n"
    )
    assert main(["config", "check", str(file)]) == 2
    told = capsys.readouterr().err.splitlines()
    lines = [line for line in told if any(path in line for path in ("latent_dimm", "trainer.steps", "optimizer.name"))]
    assert len(lines) == 3
    assert "'latent_dim'" in told[0] + told[1] + told[2]


def test_check_looks_the_data_up(file, capsys):
    pytest.importorskip("artifex.vae", reason="a config has a model")
    file.write_text("model: {type: vae}\ndata: digitz\n")
    assert main(["config", "check", str(file)]) == 2
    assert "'digits'" in capsys.readouterr().err
