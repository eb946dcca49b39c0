"""Two processes with two devices each train as one device does, and stop together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artifex.core.training.checkpoint import Checkpointer

SCRIPT = """
import json, sys
from dataclasses import dataclass
import numpy as np
import jax, jax.numpy as jnp
from flax import nnx
from artifex.core import GenerativeModel, ModelConfig, ShardingConfig, Trainer, TrainerConfig
from artifex.core.data.source import ArraySource
from artifex.core.nn.mlp import MLP
from artifex.core.prob import noise
from artifex.core.processes import bootstrap
from artifex.core.training import feed

@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(ModelConfig):
    width: int = 32

class Denoiser(GenerativeModel):
    def __init__(self, config, *, rngs):
        super().__init__(config, rngs=rngs)
        self.mlp = MLP((4, config.width, 4), rngs=rngs)
    def __call__(self, x, *, rngs=None):
        return {"x": self.mlp(x + noise.normal(rngs, x.shape))}
    def loss_fn(self, batch, outputs):
        return {"loss": jnp.mean((outputs["x"] - batch["x"]) ** 2)}
    def generate(self, n_samples=1, *, rngs=None):
        return self.mlp(noise.normal(rngs, (n_samples, 4)))

task, coordinator, rank = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if coordinator:
    bootstrap(coordinator, 2, rank)
if task["streams"]:
    feed.RESIDENT_BYTES = 0
sizes = {"data_parallel_size": jax.device_count(), "fsdp_min_weight_size": 16, **task["mesh"]}
mesh = ShardingConfig(**sizes) if coordinator else None
data = ArraySource({"x": np.random.default_rng(0).normal(size=(48, 4)).astype(np.float32)})
model = Denoiser(DenoiserConfig(), rngs=nnx.Rngs(0))
config = TrainerConfig(steps=task["steps"], batch_size=16, log_every=1, ema_decay=0.9, evaluate_every=5, sample_every=5)
trainer = Trainer(model, config, mesh=mesh, run_dir=task["run"])
told = {}
try:
    rows = trainer.fit(data, held_out=data)
    told["losses"] = [row["loss"] for row in rows if "loss" in row]
    told["held_out"] = [row["held_out/loss"] for row in rows if "held_out/loss" in row]
except KeyboardInterrupt as stop:
    told["stop"] = str(stop)
params = jax.tree.leaves(nnx.state(trainer.model(ema=True), nnx.Param))
print(json.dumps(told | {"step": trainer.step, "norm": float(sum(jnp.sum(x**2) for x in params))}))
"""


def start(task: dict[str, Any], coordinator: str = "", rank: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, json.dumps(task), coordinator, str(rank)]
    variables = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2" if coordinator else "1"}
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start_two(task: dict[str, Any]) -> list[subprocess.Popen[str]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return [start(task, f"127.0.0.1:{port}", rank) for rank in (0, 1)]


def told(child: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = child.communicate(timeout=180)
    assert child.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = str(tmp_path_factory.mktemp("alone") / "run")
    return told(start({"steps": 10, "streams": False, "mesh": {}, "run": run}))


@pytest.mark.parametrize(
    ("mesh", "streams"),
    [
        pytest.param({}, False, id="data"),
        pytest.param({"fsdp_enabled": True}, True, id="fsdp-streamed", marks=pytest.mark.slow),
    ],
)
def test_two_processes_give_the_losses_of_one(
    mesh: dict[str, Any], streams: bool, alone: dict[str, Any], tmp_path: Path
) -> None:
    task = {"steps": 10, "streams": streams, "mesh": mesh, "run": str(tmp_path / "run")}
    both = [told(child) for child in start_two(task)]
    for one in both:
        # The sum over devices is added up in another order, and ten steps carry that on.
        np.testing.assert_allclose(one["losses"], alone["losses"], rtol=1e-5)
        np.testing.assert_allclose(one["held_out"], alone["held_out"], rtol=1e-5)
        assert one["norm"] == pytest.approx(alone["norm"], rel=1e-5)
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert sum("held_out/loss" not in row for row in rows) == 10  # one process writes
    assert sorted(file.name for file in (tmp_path / "run" / "samples").iterdir()) == [
        "step_00000005.npz",
        "step_00000010.npz",
    ]
    assert Checkpointer(tmp_path / "run" / "checkpoints").steps() == (10,)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_at_one_step_with_a_checkpoint(tmp_path: Path) -> None:
    task = {"steps": 10**6, "streams": False, "mesh": {}, "run": str(tmp_path / "run")}
    children = start_two(task)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.is_file() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    children[1].send_signal(signal.SIGTERM)
    both = [told(child) for child in children]
    assert both[0]["step"] == both[1]["step"] > 0
    assert "SIGTERM" in both[0]["stop"]
    assert Checkpointer(tmp_path / "run" / "checkpoints").latest() == both[0]["step"]
