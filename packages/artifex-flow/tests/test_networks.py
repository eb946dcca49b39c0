"""Conditioners against the same network written out."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx

from artifex.flow.networks import Conditioner, MLPConfig, ResNetConfig

X = np.random.default_rng(0).standard_normal((3, 2))
C = np.random.default_rng(1).standard_normal((3, 4))


def relu(h):
    return np.maximum(h, 0)


def affine(layer, h):
    return h @ np.asarray(layer.kernel[...], float) + np.asarray(layer.bias[...], float)


def found(conditioner) -> np.ndarray:
    return np.asarray(conditioner(jnp.asarray(X, jnp.float32), jnp.asarray(C, jnp.float32)))


def test_a_perceptron_is_its_layers_with_the_batch_last(lively):
    net = lively(Conditioner(MLPConfig(hidden_dims=(8, 8)), (2, 5), 3, context_dim=4, rngs=nnx.Rngs(0)))
    h = np.concatenate([X, C], -1)
    for layer in net.body.layers:
        h = relu(affine(layer, h))
    np.testing.assert_allclose(found(net), affine(net.out, h).reshape(3, 3, 5).transpose(1, 2, 0), rtol=1e-3, atol=1e-4)


def test_a_residual_network_adds_each_block(lively):
    net = lively(Conditioner(ResNetConfig(width=8, n_blocks=2), (2, 5), 3, context_dim=4, rngs=nnx.Rngs(0)))
    h = affine(net.body.first, np.concatenate([X, C], -1))
    for inner, outer in net.body.blocks:
        h = h + affine(outer, relu(affine(inner, relu(h))))
    out = affine(net.out, relu(h))
    np.testing.assert_allclose(found(net), out.reshape(3, 3, 5).transpose(1, 2, 0), rtol=1e-3, atol=1e-4)


def test_a_new_conditioner_gives_zeros():
    net = Conditioner(MLPConfig(hidden_dims=(8,)), (2, 5), 3, context_dim=4, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(found(net), np.zeros((3, 5, 3)))
