"""`artifex train`, kill -9, `artifex resume`: the parameters of the run that nobody disturbed, bit for bit.

With averaged parameters, parts of batches and a learning-rate schedule on, for every model, killed at a random moment.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from artifex.core.config_text import write_config
from artifex.core.testing.subject import subject

pytestmark = pytest.mark.faults
STEPS = 24


def write_run(name: str, folder: Path) -> Path:
    """The config of a run on the data of the model's example."""
    s = subject(name)
    np.savez(folder / "data.npz", **{key: np.concatenate([x] * 3) for key, x in s.batch.items()})  # some are held out
    services = {"ema_decay": 0.9, "grad_accum": s.parts, "save_every": 1, "log_every": 1, "keep": 2}
    tree = {
        "model": {"type": name, **s.config.to_dict()},
        "data": {"type": "npz", "file": str(folder / "data.npz"), "levels": getattr(s.config, "levels", None)},
        "trainer": {"steps": STEPS, "batch_size": s.n, "seed": 3, **services},
        "optimizer": {"learning_rate": 3e-3, "schedule": "cosine", "warmup_steps": 5},
    }
    write_config(tree, folder / "run.yaml")
    return folder / "run.yaml"


def artifex(*words: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    command = [sys.executable, "-m", "_artifex_cli", *words]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-2000:]


def kill_at(process: subprocess.Popen[str], metrics: Path, rows: int) -> int:
    """Kill -9 as soon as so many rows are written; how many there were."""
    written = 0
    while written < rows and process.poll() is None:
        time.sleep(0.002)
        written = metrics.read_text().count("\n") if metrics.is_file() else 0
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return written


def test_a_killed_run_ends_in_the_same_bytes(name: str, tmp_path: Path) -> None:
    config = write_run(name, tmp_path)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(artifex("train", str(config), "--out", str(whole)))
    rows = random.Random(name).randint(2, STEPS - 4)
    killed = kill_at(artifex("train", str(config), "--out", str(broken)), broken / "metrics.jsonl", rows)
    assert not (broken / "model").exists(), f"the run ended before it was killed, at {killed} rows"
    finish(artifex("resume", str(broken)))
    print(f"{name}: killed after {killed} of {STEPS} rows")
    assert (broken / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()
    losses = [[json.loads(row) for row in (run / "metrics.jsonl").read_text().splitlines()] for run in (whole, broken)]
    one, other = ({row["step"]: {k: v for k, v in row.items() if "loss" in k} for row in rows} for rows in losses)
    assert one == other
