"""Saved models: no code, whole or not at all, and refused when they do not fit."""

from __future__ import annotations

import json
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.model import GenerativeModel
from artifex.core.saving import load_model


@dataclass(frozen=True, kw_only=True)
class BoxConfig(ModelConfig):
    """A width."""

    width: int = 3


class Box(GenerativeModel):
    """Arrays of several kinds."""

    def __init__(self, config: BoxConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.w = nnx.Param(jnp.arange(config.width, dtype=jnp.float32))
        self.half = nnx.Variable(jnp.ones(2, jnp.bfloat16))
        self.flag = nnx.Variable(jnp.ones((), bool))
        self.drop = nnx.Dropout(0.5, rngs=rngs)  # holds random keys, which files cannot

    def __call__(self, x, *, rngs=None):
        return {"x": x}

    def loss_fn(self, batch, outputs):
        return {"loss": outputs["x"].mean()}

    def generate(self, n_samples=1, *, rngs=None):
        return jnp.broadcast_to(self.w[...], (n_samples, len(self.w[...])))


@pytest.fixture
def saved(tmp_path):
    model = Box(BoxConfig(), rngs=nnx.Rngs(0))
    model.w.set_value(jnp.asarray([1.5, -2.0, 3.0]))
    model.save(tmp_path / "box")
    return tmp_path / "box"


def test_everything_comes_back(saved):
    again = load_model(saved, Box)
    np.testing.assert_array_equal(again.w[...], [1.5, -2.0, 3.0])
    np.testing.assert_array_equal(np.asarray(again.half[...], np.float32), [1, 1])
    assert again.config == BoxConfig()
    assert again.half[...].dtype == jnp.bfloat16


def test_the_folder_holds_config_and_weights_only(saved):
    assert sorted(file.name for file in saved.iterdir()) == ["config.json", "model.safetensors"]
    content = json.loads((saved / "config.json").read_text())
    assert content["config"] == {"dtype": "float32", "width": 3}


def test_a_class_that_is_not_registered_must_be_given(saved):
    with pytest.raises(LookupError, match=r"got '.*:Box', which is not registered. Give its class"):
        load_model(saved)


def test_saving_again_replaces_and_other_folders_are_refused(saved, tmp_path):
    model = load_model(saved, Box)
    model.w.set_value(jnp.zeros(3))
    model.save(saved)
    np.testing.assert_array_equal(load_model(saved, Box).w[...], np.zeros(3))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="expected a new folder or one with a saved model"):
        model.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["box", "mine"]  # no drafts are left


def test_parameters_that_are_not_finite_are_refused_and_nothing_is_written(tmp_path):
    model = Box(BoxConfig(), rngs=nnx.Rngs(0))
    model.w.set_value(jnp.asarray([1.0, jnp.nan, 0.0]))
    with pytest.raises(ValueError, match="got NaN or infinity in 'w'"):
        model.save(tmp_path / "box")
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_byte_is_found(saved):
    file = saved / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="got a missing or damaged"):
        load_model(saved, Box)


def test_weights_of_another_architecture_are_all_named(saved):
    config = json.loads((saved / "config.json").read_text())
    config["config"]["width"] = 4
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"w is float32\[3\] instead of float32\[4\]"):
        load_model(saved, Box)


def test_no_model_there_is_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="expected a folder written by save"):
        load_model(tmp_path / "nothing")
