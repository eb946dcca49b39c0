"""`artifex init` writes a run that trains: the model fits the data, the optimizer is its config's."""

from __future__ import annotations

import json

import numpy as np
import pytest

from artifex.core.cli.init import start
from artifex.core.cli.main import main
from artifex.core.config_text import read_config, write_config
from artifex.core.data.spec import DataSpec
from artifex.core.registry import list_models, load_target
from artifex.core.training.config import TrainerConfig
from artifex.core.training.run_config import read_run

pytest.importorskip("artifex.vae", reason="there must be a model to start from")

RECORDS = {model.record.name: model.record for model in list_models() if model.distribution.startswith("artifex-")}
MODELS = sorted(RECORDS.keys() - {"stable_diffusion"})  # which has nothing but weights to start from
PAIRS = ["data.x=digits", "data.y=digits", "data.invert_y=true"]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """Vectors of four classes, in a file."""
    path = tmp_path_factory.mktemp("data") / "vectors.npz"
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.normal(size=(400, 3)).astype(np.float32), y=rng.integers(4, size=400).astype(np.int32))
    return path


def started(name, vectors):
    """The run of a model on data that suit it."""
    if "translator" in RECORDS[name].capabilities:
        return start(name, "paired", PAIRS)
    if name == "conditional_flow":
        return start(name, "npz", [f"data.file={vectors}"])
    return start(name)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_starts_from_data_that_suit_it(name, vectors):
    tree = started(name, vectors)
    assert tree["model"]["type"] == name
    assert read_run(tree).trainer == TrainerConfig.from_dict(load_target(RECORDS[name].config).training)


@pytest.mark.parametrize("name", [n for n in MODELS if RECORDS[n].modalities == ("image", "tabular")])
def test_a_model_of_pictures_and_vectors_takes_both(name, vectors):
    assert start(name, "npz", [f"data.file={vectors}"])["model"]["type"] == name


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (24, 20, 1)])
@pytest.mark.parametrize("name", [n for n in MODELS if "image" in RECORDS[n].modalities and "stylegan3" not in n])
def test_pictures_of_many_sides_have_a_config(name, shape):
    """StyleGAN3 takes powers of two alone, and its config says so."""
    spec = DataSpec(shape=shape, low=0.0, high=1.0, levels=256, kind="image", n_classes=10, condition_shape=shape)
    config = load_target(RECORDS[name].config).for_data(spec, 1000)
    assert type(config).from_dict(config.to_dict()) == config


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_trains(name, vectors, tmp_path):
    out, run = tmp_path / "run.yaml", tmp_path / "run"
    write_config(started(name, vectors), out)
    assert main(["train", str(out), "--set", "trainer.steps=3", "--set", "trainer.log_every=1", "--out", str(run)]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [value for row in rows for key, value in row.items() if key.endswith("loss")]
    assert len(losses) >= 3
    assert np.isfinite(losses).all()


def test_the_file_holds_every_field_and_the_settings(tmp_path, capsys):
    out = tmp_path / "vae.yaml"
    settings = ["--set", "data.binarise=threshold", "--set", "model.latent_dim=8", "--set", "trainer.steps=7"]
    assert main(["init", "vae", *settings, "--out", str(out)]) == 0
    assert main(["config", "check", str(out)]) == 0
    tree = read_config(out).tree
    assert tree["model"] == {"type": "vae", **tree["model"], "latent_dim": 8, "likelihood": {"type": "bernoulli"}}
    assert tree["model"]["decoder"]["output_dim"] == [8, 8, 1]
    assert tree["data"] == {"type": "digits", "binarise": "threshold"}
    assert (tree["trainer"]["steps"], tree["optimizer"]["learning_rate"]) == (7, 1e-3)
    capsys.readouterr()


def test_a_batch_is_no_larger_than_the_data(tmp_path):
    np.savez(tmp_path / "few.npz", x=np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32))
    few = [f"data.file={tmp_path / 'few.npz'}"]
    assert start("vae", "npz", few)["trainer"]["batch_size"] == 16
    assert start("wgan", "npz", few)["trainer"]["batch_size"] == 10  # five critic updates still divide it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vae", "--data", "digts"], "Did you mean 'digits'"),
        (["vae", "--set", "model.latent_dims=8"], "did you mean 'latent_dim'"),
        (["vq_vae", "--data", "two_moons"], "expected 3 values, got 1"),
        (["stable_diffusion"], "load_stable_diffusion(folder)"),
        (["maf", "--data", "digits"], "Flatten it (flat: true), or take a recipe for pictures"),
        (["cgan", "--data", "two_moons"], "Choose data with labels, or a model without condition"),
        (["vae", "--set", "model.decoder.output_dim=[4, 4, 1]"], "expected data of shape (4, 4, 1), got (8, 8, 1)"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(arguments, message, tmp_path, capsys):
    out = tmp_path / "out.yaml"
    assert main(["init", *arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_exists_stays_as_it_is(tmp_path, capsys):
    out = tmp_path / "vae.yaml"
    out.write_text("mine\n")
    assert main(["init", "vae", "--out", str(out)]) == 2
    assert out.read_text() == "mine\n"
    assert "--out" in capsys.readouterr().err
