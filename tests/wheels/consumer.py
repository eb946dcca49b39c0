"""What a user's type checker sees through the installed wheels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from artifex.core import Trainer, TrainerConfig, create_model, list_models
from artifex.vae import VAE, DecoderConfig, EncoderConfig, VAEConfig

config = VAEConfig(
    encoder=EncoderConfig(hidden_dims=(32, 64)),
    decoder=DecoderConfig(hidden_dims=(64, 32), output_dim=(28, 28, 1)),
    latent_dim=16,
)
model: VAE = VAE(config, rngs=nnx.Rngs(params=jax.random.key(0)))
latent: int = config.latent_dim
outputs = model(jnp.zeros((4, 28, 28, 1)))
mean: jax.Array = outputs["mean"]
loss: jax.Array = model.loss_fn({"x": jnp.zeros((4, 28, 28, 1))}, outputs)["loss"]
trainer = Trainer(model, TrainerConfig(steps=10, batch_size=4, seed=0))
names: list[str] = [found.name for found in list_models()]
other = create_model("vae", rngs=nnx.Rngs(0), latent_dim=8)
