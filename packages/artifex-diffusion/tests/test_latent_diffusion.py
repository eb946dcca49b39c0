"""Diffusion on codes: the scale, the cache, and what stays."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core import Trainer, TrainerConfig, create_model, load_model
from artifex.core.config import ModelConfig
from artifex.core.data.source import ArraySource
from artifex.core.data.spec import DataSpec
from artifex.core.leaves import flatten
from artifex.core.model import GenerativeModel
from artifex.core.registry import register_model
from artifex.diffusion.examples import latent_diffusion
from artifex.diffusion.latent_diffusion import LatentDiffusion, LatentDiffusionConfig, encode_all, measure_scale

CONFIG, BATCH = latent_diffusion()


@dataclass(frozen=True, kw_only=True)
class TripleConfig(ModelConfig):
    """Pictures of 4 × 4 to 4 × 4 × 2 numbers and back."""

    factor: float = 3.0


@register_model("triple", summary="codes are multiples", family="test")
class Triple(GenerativeModel):
    """A stranger's autoencoder, whose code is exact."""

    def __init__(self, config: TripleConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.gain = nnx.Param(jnp.asarray(config.factor))

    def __call__(self, x, *, rngs=None):
        return {"x": x}

    def loss_fn(self, batch, outputs):
        return {"loss": jnp.zeros(())}

    def generate(self, n_samples=1, *, rngs=None):
        return jnp.zeros((n_samples, 4, 4, 1))

    def encode(self, x):
        return self.gain[...] * jnp.concatenate([x, 1 - x], -1)

    def decode(self, z):
        return z[..., :1] / self.gain[...]


def codes_of(x: np.ndarray) -> np.ndarray:
    """What Triple makes of pictures."""
    return 3 * np.concatenate([x, 1 - x], -1)


@pytest.fixture
def model() -> LatentDiffusion:
    return create_model(CONFIG.replace(autoencoder=TripleConfig()), rngs=nnx.Rngs(0))


def test_any_autoencoder_will_do_and_the_scale_gives_codes_of_deviation_one(model):
    source = ArraySource(BATCH)
    scale = measure_scale(model, source)
    codes = codes_of(BATCH["x"])
    assert scale == pytest.approx(1 / codes.std(), rel=1e-5)
    z = encode_all(model, source, batch_size=7).take(np.arange(16))["x"]
    np.testing.assert_allclose(z, codes / codes.std(), rtol=1e-5)
    np.testing.assert_allclose(model.to_data(jnp.asarray(z)), BATCH["x"], atol=1e-5)


def test_training_measures_the_scale_once_and_moves_only_the_diffusion_model(model):
    before = {path: np.asarray(x) for path, x in flatten(model)[1].items()}
    trainer = Trainer(model, TrainerConfig(steps=3, batch_size=16))
    trainer.fit(BATCH)
    after = {path: np.asarray(x) for path, x in flatten(trainer.model())[1].items()}
    codes = codes_of(BATCH["x"])
    assert after["scale"] == pytest.approx(1 / codes.std(), rel=1e-5)
    moved = {path.split("/")[0] for path in before if not np.array_equal(before[path], after[path])}
    assert moved == {"diffusion", "scale"}
    again = Trainer(trainer.model(), TrainerConfig(steps=1, batch_size=16))
    again.fit({"x": 5 * BATCH["x"]})
    assert float(again.model().scale[...]) == after["scale"]


def test_the_scale_is_saved_with_the_weights(model, tmp_path):
    measure_scale(model, ArraySource(BATCH))
    model.save(tmp_path / "model")
    assert float(load_model(tmp_path / "model").scale[...]) == float(model.scale[...])


def test_codes_are_drawn_where_the_autoencoder_draws_and_follow_the_row():
    model = create_model(CONFIG, rngs=nnx.Rngs(0))
    source = ArraySource(BATCH)
    draws = [
        encode_all(model, source, batch_size=n, seed=s).take(np.arange(16))["x"] for n, s in ((16, 0), (5, 0), (16, 1))
    ]
    np.testing.assert_allclose(draws[0], draws[1], atol=1e-6)
    assert np.abs(draws[0] - draws[2]).max() > 0.1


def test_cached_codes_train_the_diffusion_model_by_itself(model):
    source = ArraySource({**BATCH, "y": np.arange(16, dtype=np.int32)})
    measure_scale(model, source)
    codes = encode_all(model, source)
    np.testing.assert_array_equal(codes.take(np.arange(16))["y"], np.arange(16))
    trainer = Trainer(model.diffusion, TrainerConfig(steps=2, batch_size=16))
    assert np.isfinite([row["loss"] for row in trainer.fit(ArraySource({"x": codes.take(np.arange(16))["x"]}))]).all()


def test_codes_without_spread_are_refused(model):
    with pytest.raises(ValueError, match="codes that differ, got a deviation of 0"):
        measure_scale(model, ArraySource({"x": np.full((4, 4, 4, 1), 0.5, np.float32)}))


def test_a_model_that_cannot_decode_is_refused():
    with pytest.raises(ValueError, match="'autoencoder' with encode and decode, got DDIM"):
        create_model(LatentDiffusionConfig(autoencoder=CONFIG.diffusion, diffusion=CONFIG.diffusion), rngs=nnx.Rngs(0))


def test_trained_weights_are_adopted_and_those_of_another_config_are_not(model):
    trained = create_model(TripleConfig(), rngs=nnx.Rngs(0))
    trained.gain[...] = jnp.asarray(4.0)
    model.adopt(trained)
    assert float(model.autoencoder.gain[...]) == 4
    with pytest.raises(ValueError, match="an autoencoder with the config"):
        model.adopt(create_model(TripleConfig(factor=2.0), rngs=nnx.Rngs(0)))


def test_codes_that_the_diffusion_model_does_not_take_are_refused(model):
    wrong = create_model(
        CONFIG.replace(
            autoencoder=TripleConfig(),
            diffusion=CONFIG.diffusion.replace(network=CONFIG.diffusion.network.replace(shape=(4, 2, 2))),
        ),
        rngs=nnx.Rngs(0),
    )
    spec = DataSpec(shape=(4, 4, 1), kind="image")
    model.check_data(spec)
    with pytest.raises(ValueError, match=r"data of shape \(4, 2, 2\), got \(4, 4, 2\)"):
        wrong.check_data(spec)
