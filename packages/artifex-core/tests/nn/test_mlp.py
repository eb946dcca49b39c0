"""The perceptron is its equation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.nn.mlp import ACTIVATIONS, MLP


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_output_is_the_equation(activation):
    mlp = MLP((3, 5, 4, 2), activation=activation, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    h = x
    for i, layer in enumerate(mlp.layers):
        h = h @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])
        h = np.asarray(ACTIVATIONS[activation](h)) if i < 2 else h
    np.testing.assert_allclose(mlp(jnp.asarray(x)), h, atol=1e-5)


def test_one_layer_is_linear():
    mlp = MLP((3, 2), rngs=nnx.Rngs(0))
    x, y = jax.random.normal(jax.random.key(0), (2, 4, 3))
    np.testing.assert_allclose(mlp(x + y), mlp(x) + mlp(y), atol=1e-5)
