"""IWAE: the bound and its two gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten, merge
from artifex.core.prob.gaussian import Gaussian
from artifex.vae import IWAE, DecoderConfig, EncoderConfig, IWAEConfig
from artifex.vae.bound import iwae_bound

DRAWS = 20_000
BIAS = "coder/encoder/mlp/layers/0/bias"


def build(gradient: str, k: int = 8) -> IWAE:
    config = IWAEConfig(
        encoder=EncoderConfig(hidden_dims=()),
        decoder=DecoderConfig(hidden_dims=(), output_dim=(3,)),
        latent_dim=1,
        k=k,
        gradient=gradient,
    )
    return IWAE(config, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def gradients() -> dict[str, np.ndarray]:
    """Encoder gradients of many draws, by estimator: [draw, parameter]."""
    x = jnp.asarray([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    found = {}
    for name in ("plain", "doubly_reparameterised"):
        layout, arrays = flatten(build(name))

        def loss(bias, key, layout=layout, arrays=arrays):
            model = merge(layout, {**arrays, BIAS: bias})
            return model.loss_fn({"x": x}, model(x, rngs=nnx.Rngs(key)))["loss"]

        grads = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(arrays[BIAS], jax.random.split(jax.random.key(3), DRAWS))
        found[name] = np.asarray(grads)
    return found


def test_both_gradients_are_equal_in_the_mean(gradients):
    plain, dreg = gradients["plain"], gradients["doubly_reparameterised"]
    error = np.sqrt(plain.var(0) / DRAWS + dreg.var(0) / DRAWS)
    assert np.all(np.abs(plain.mean(0) - dreg.mean(0)) < 4 * error)


def test_the_doubly_reparameterised_gradient_varies_less(gradients):
    assert gradients["doubly_reparameterised"].var(0).sum() < 0.9 * gradients["plain"].var(0).sum()


def test_loss_is_minus_the_bound_of_its_own_weights():
    model, x = build("doubly_reparameterised"), jnp.asarray([[1.0, 0.0, 1.0]])
    outputs = model(x, rngs=nnx.Rngs(1))
    log_w = model.log_weights(x, outputs["z"], Gaussian(outputs["mean"], outputs["log_std"]))
    losses = model.loss_fn({"x": x}, outputs)
    np.testing.assert_allclose(losses["loss"], -iwae_bound(log_w)[0], rtol=1e-6)
    assert float(losses["elbo"]) <= -float(losses["loss"])  # Jensen
    assert 1 <= float(losses["effective_draws"]) <= 8


def test_k_below_one_is_refused():
    with pytest.raises(ValueError, match="expected 'k' >= 1, got 0"):
        IWAEConfig(k=0)
