"""The commands on runs: what they print, what they leave, and what they refuse."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from artifex.core.cli.main import main

pytest.importorskip("artifex.vae", reason="the commands need an installed family")

CONFIG = """\
model:
  type: vae
  latent_dim: 2
  encoder: {type: mlp, hidden_dims: [8]}
  decoder: {type: mlp, hidden_dims: [8], output_dim: [8, 8, 1]}
data: {type: digits, binarise: threshold}
trainer: {steps: 12, batch_size: 32, log_every: 4, save_every: 4, sample_every: 6, evaluate_every: 6, ema_decay: 0.9}
optimizer: {learning_rate: 1e-3}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    (root / "vae.yaml").write_text(CONFIG)
    assert main(["train", str(root / "vae.yaml"), "--out", str(root / "a")]) == 0
    return root


def test_a_run_s_folder_holds_everything(folder):
    run = folder / "a"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [4, 8, 12]
    assert [row["step"] for row in rows if "held_out/loss" in row] == [6, 12]
    assert sorted(file.name for file in (run / "samples").iterdir()) == ["step_00000006.png", "step_00000012.png"]
    about = json.loads((run / "environment.json").read_text())
    assert about["versions"]["jax"]
    assert sorted(step.name for step in (run / "checkpoints").iterdir() if step.name.isdigit()) == ["12", "4", "8"]
    assert (run / "model" / "model.safetensors").is_file()


def test_generate_writes_x_that_the_seed_gives(folder, capsys):
    files = [folder / f"{name}.npz" for name in "abc"]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        assert main(["generate", str(folder / "a"), "-n", "5", "--seed", str(seed), "--out", str(file)]) == 0
    x = [np.load(file)["x"] for file in files]
    assert json.loads(capsys.readouterr().out.splitlines()[0])["shape"] == [5, 8, 8, 1]
    np.testing.assert_array_equal(x[0], x[1])
    assert (x[0] != x[2]).any()


def test_evaluate_prints_the_schema_and_leaves_a_report(folder, capsys):
    assert main(["evaluate", str(folder / "a"), "--json", "-n", "60"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"] == 1
    assert set(printed["results"][0]) == {"metric", "value", "ci_low", "ci_high", "n", "data", "extractor"}
    values = {row["metric"]: row for row in printed["results"]}
    assert values["elbo"]["ci_low"] < values["elbo"]["value"] < values["elbo"]["ci_high"] < 0
    assert values["elbo"]["n"] == 360
    assert (folder / "a" / "report.html").read_text().startswith("<!doctype html>")
    assert main(["compare", str(folder / "a"), str(folder / "a"), "--fail-on", "regressed"]) == 0


def test_resume_of_a_finished_run_changes_nothing(folder, capsys):
    before = (folder / "a" / "metrics.jsonl").read_text()
    assert main(["resume", str(folder / "a")]) == 0
    assert (folder / "a" / "metrics.jsonl").read_text() == before


def test_a_folder_in_use_is_refused_and_named(folder, capsys):
    assert main(["train", str(folder / "vae.yaml"), "--out", str(folder / "a")]) == 2
    assert f"artifex resume {folder / 'a'}" in capsys.readouterr().err


def test_three_mistakes_give_three_lines_and_no_folder(folder, capsys):
    bad = CONFIG.replace("latent_dim: 2", "latent_dims: 2").replace("steps: 12", "steps: many").replace("1e-3", "fast")
    (folder / "bad.yaml").write_text(bad)
    assert main(["train", str(folder / "bad.yaml"), "--out", str(folder / "bad")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert (
        "bad.yaml:3: config.model.latent_dims: VAEConfig has no field 'latent_dims'; did you mean 'latent_dim'?"
        in lines[0]
    )
    assert "config.trainer.steps: expected an int, got 'many' (str)." in lines[1]
    assert "bad.yaml:8: config.optimizer.learning_rate: expected a float, got 'fast' (str)." in lines[2]
    assert not (folder / "bad").exists()


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        (["model.type=vea"], 2, "Did you mean 'vae'?"),
        (["data=digts"], 2, "Did you mean 'digits'?"),
        (["trainer.batch_size=5000"], 2, "expected at most 1437, the number of examples, got 5000"),
        (["model.decoder.output_dim=[28, 28, 1]"], 2, "expected data of shape (28, 28, 1), got (8, 8, 1)"),
        (["mesh.data_parallel_size=64"], 2, "expected data 64 x fsdp 1 x tensor 1 to fit the devices, got 8"),
        (["trainer.nonfinite=ignore"], 2, "expected one of 'raise', 'skip', 'off', got 'ignore'"),
    ],
)
def test_what_cannot_run_is_refused_before_a_folder_is_made(folder, capsys, settings, code, message):
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", str(folder / "vae.yaml"), *words, "--out", str(folder / "no")]) == code
    assert message in capsys.readouterr().err
    assert not (folder / "no").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["resume", "nowhere"], 1, "expected a run's folder"),
        (["generate", "nowhere"], 1, "expected a run's folder"),
        (["train", "nowhere.yaml"], 2, "expected a config file, got No such file"),
        (["show", "vea"], 2, "Did you mean 'vae'?"),
        (["show", "wgan_nothing"], 2, "expected the name of an installed model"),
        (["trian"], 2, "Did you mean 'train'?"),
        (["compare", "a", "b"], 1, "Run artifex evaluate first"),
    ],
)
def test_errors_are_one_sentence_with_their_code(words, code, message, capsys, tmp_path):
    assert main(words) == code
    found = capsys.readouterr().err
    assert message in found
    assert len(found.splitlines()) == 1


def test_a_nan_loss_stops_the_run_with_exit_code_1(folder, capsys):
    words = ["--set", "optimizer.learning_rate=1e30", "--set", "trainer.steps=60", "--out", str(folder / "nan")]
    assert main(["train", str(folder / "vae.yaml"), *words]) == 1
    assert "expected finite losses and gradients" in capsys.readouterr().err


def test_ctrl_c_writes_a_checkpoint_and_resume_ends_in_the_same_parameters(folder):
    changes = {"steps": "4000", "save_every": "100000", "sample_every": "none", "evaluate_every": "none"}
    settings = [word for name, value in changes.items() for word in ("--set", f"trainer.{name}={value}")]
    command = [sys.executable, "-m", "_artifex_cli", "train", str(folder / "vae.yaml"), *settings, "--out"]
    process = subprocess.Popen([*command, str(folder / "cut")], stderr=subprocess.PIPE, text=True)
    metrics = folder / "cut" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(2)
    _, talk = process.communicate(timeout=120)
    assert process.returncode == 130, talk
    assert f"artifex resume {folder / 'cut'}" in talk
    assert main(["resume", str(folder / "cut")]) == 0
    assert main(["train", str(folder / "vae.yaml"), *settings, "--out", str(folder / "whole")]) == 0
    weights = [(folder / name / "model" / "model.safetensors").read_bytes() for name in ("cut", "whole")]
    assert weights[0] == weights[1]


def test_init_writes_a_config_that_is_sound(folder, capsys):
    assert main(["init", "vae", "--out", str(folder / "new.yaml")]) == 0
    assert main(["config", "check", str(folder / "new.yaml")]) == 0
    assert main(["init", "vae", "--out", str(folder / "new.yaml")]) == 2
    assert "expected a new file" in capsys.readouterr().err


def test_config_diff_names_each_path(folder, capsys):
    (folder / "other.yaml").write_text(CONFIG.replace("latent_dim: 2", "latent_dim: 3"))
    assert main(["config", "diff", str(folder / "vae.yaml"), str(folder / "other.yaml")]) == 1
    assert capsys.readouterr().out == "model.latent_dim: 2 -> 3\n"


def test_dry_run_counts_parameters(folder, capsys):
    assert main(["train", str(folder / "vae.yaml"), "--dry-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    by_hand = (64 * 8 + 8) + (8 * 4 + 4) + (2 * 8 + 8) + (8 * 64 + 64)
    assert facts["parameters"] == by_hand
    assert facts["state_bytes_per_device"] >= 4 * 4 * by_hand  # parameters, two moments, averages
