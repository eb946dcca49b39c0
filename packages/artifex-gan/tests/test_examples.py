"""The optimizers of the example runs are the papers'."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from artifex.core.cli.main import main
from artifex.core.config_text import read_config
from artifex.core.registry import load_target, model_record, record_of
from artifex.core.training.config import TrainerConfig
from artifex.core.training.objective import training_spec
from artifex.core.training.optimizers import learning_rate
from artifex.core.training.run_config import read_run

FOLDER = Path(__file__).parents[3] / "examples"
PAPERS = {  # name, rate, betas, schedule, critic steps, batch of one critic update
    "dcgan": ("adam", 2e-4, (0.5, 0.999), "constant", 1, None),
    "wgan": ("rmsprop", 5e-5, (0.0, 0.99), "constant", 5, 64),
    "wgan_gp": ("adam", 1e-4, (0.0, 0.9), "constant", 5, 64),
    "lsgan": ("adam", 2e-4, (0.5, 0.999), "constant", 1, None),
    "cgan": ("adam", 2e-4, (0.5, 0.999), "constant", 1, None),
    "projection_gan": ("adam", 2e-4, (0.0, 0.9), "constant", 5, 64),
    "r3gan": ("adam", 2e-4, (0.0, 0.99), "cosine", 1, None),
    "pix2pix": ("adam", 2e-4, (0.5, 0.999), "constant", 1, 1),
    "cyclegan": ("adam", 2e-4, (0.5, 0.999), "linear", 1, 1),
    "patchgan": ("adam", 2e-4, (0.5, 0.999), "linear", 1, 1),
}


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the examples lie in the checkout, not in the distribution")
@pytest.mark.parametrize("name", PAPERS)
def test_an_example_trains_as_its_paper_does(name):
    optimizer, rate, betas, schedule, steps, batch = PAPERS[name]
    run = read_run(read_config(FOLDER / f"{name}_digits.yaml").tree)
    found = run.trainer.optimizer
    assert record_of(run.model).name == name
    assert (found.name, found.learning_rate, found.betas, found.schedule) == (optimizer, rate, betas, schedule)
    assert TrainerConfig.from_dict(type(run.model).training).optimizer == found  # what `artifex init` writes
    critic = training_spec(type_of(name)(run.model, rngs=nnx.Rngs(0))).objectives[0]
    assert critic.repeat == steps
    assert batch in (None, run.trainer.batch_size // steps)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the examples lie in the checkout, not in the distribution")
@pytest.mark.parametrize("name", ["cyclegan", "patchgan"])
def test_the_rate_is_held_for_half_and_then_falls_to_zero(name):
    optimizer = read_run(read_config(FOLDER / f"{name}_digits.yaml").tree).trainer.optimizer
    found = [float(learning_rate(optimizer, 200, n)) for n in (0, 100, 150, 200)]
    np.testing.assert_allclose(found, [2e-4, 2e-4, 1e-4, 0.0], atol=1e-10)


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER.is_dir(), reason="the examples lie in the checkout, not in the distribution")
@pytest.mark.parametrize("name", PAPERS)
def test_an_example_trains_from_the_command_line(name, tmp_path):
    pytest.importorskip("sklearn", reason="brings the digits")
    changes = ["--set", "trainer.steps=3", "--set", "trainer.log_every=1", "--out", str(tmp_path / "run")]
    assert main(["train", str(FOLDER / f"{name}_digits.yaml"), *changes]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [[row[f"{side}/loss"] for side in ("critic", "generator")] for row in rows if "critic/loss" in row]
    assert len(losses) == 3
    assert np.isfinite(losses).all()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("dcgan", {"shape": (64, 64, 3), "z_dim": 100}),
        ("lsgan", {"shape": (64, 64, 3), "targets": (0.0, 1.0, 1.0)}),
        ("cgan", {"shape": (64, 64, 3), "loss": "nonsaturating"}),
        ("wgan", {"shape": (32, 32, 3), "z_dim": 128, "clip": 0.01, "critic_steps": 5}),
        ("wgan_gp", {"shape": (32, 32, 3), "z_dim": 128, "weight": 10.0, "critic_steps": 5}),
        ("r3gan", {"shape": (32, 32, 3), "z_dim": 128, "gamma": (0.05, 0.005)}),
        ("pix2pix", {"shape": (128, 128, 3), "l1_weight": 100.0, "dropout": 0.5, "patch_layers": 3}),
        ("patchgan", {"shape": (128, 128, 3), "scales": 2, "feature_weight": 10.0, "patch_layers": 3}),
        ("cyclegan", {"shape": (128, 128, 3), "cycle_weight": 10.0, "identity": 0.5, "pool": 50, "blocks": 6}),
    ],
)
def test_the_defaults_are_the_papers(name, fields):
    config = load_target(model_record(name).config)()
    assert {field: getattr(config, field) for field in fields} == fields


def type_of(name):
    return load_target(model_record(name).model)
