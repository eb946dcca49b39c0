"""Spectral normalisation against singular values, and step by step against another library."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.gan.spectral import SpectralNorm, matrix


def dense(inputs=7, outputs=5):
    return SpectralNorm(nnx.Linear(inputs, outputs, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))


def largest(layer):
    return np.linalg.svd(matrix(layer.layer.kernel[...]), compute_uv=False)[0]


def test_the_estimate_reaches_the_largest_singular_value():
    for layer in (dense(), SpectralNorm(nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))):
        for _ in range(100):
            sigma = layer.sigma()
        np.testing.assert_allclose(sigma, largest(layer), rtol=1e-4)


def test_the_output_is_that_of_a_kernel_of_norm_one():
    layer = dense()
    layer.bias[...] = jnp.arange(5.0)
    for _ in range(100):
        layer.sigma()
    x = np.random.default_rng(0).standard_normal((4, 7)).astype(np.float32)
    expected = x @ np.asarray(layer.layer.kernel[...]) / largest(layer) + np.arange(5.0)
    np.testing.assert_allclose(layer(jnp.asarray(x)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 3])
def test_power_iterations_equal_those_of_torch(steps):
    torch = pytest.importorskip("torch")
    layer = dense()
    theirs = torch.nn.Linear(7, 5, bias=False)
    kernel = np.asarray(layer.layer.kernel[...])
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(kernel.T))
    theirs = torch.nn.utils.spectral_norm(theirs)
    start = np.random.default_rng(1).standard_normal(5).astype(np.float32)
    theirs.weight_u = torch.tensor(start / np.linalg.norm(start))
    layer.u[...] = jnp.asarray(start / np.linalg.norm(start))
    theirs.train()
    x = torch.randn(2, 7)
    for _ in range(steps):
        theirs(x)
        layer.sigma()
    np.testing.assert_allclose(layer.u[...], theirs.weight_u.numpy(), atol=1e-6)
    np.testing.assert_allclose(layer.v[...], theirs.weight_v.numpy(), atol=1e-6)


def test_the_gradient_passes_through_sigma():
    layer = dense()
    layer.eval()
    u, v, x = layer.u[...], layer.v[...], jnp.ones((1, 7))

    def through(kernel):
        return (x @ (kernel / (v @ kernel @ u))).sum()

    kernel = layer.layer.kernel[...]
    expected = jax.grad(through)(kernel)
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    grads = jax.grad(lambda p: (nnx.merge(graph, p, rest)(x)).sum())(params)
    np.testing.assert_allclose(grads["layer"]["kernel"][...], expected, rtol=1e-4, atol=1e-5)


def test_evaluation_leaves_the_vectors():
    layer = dense()
    before = np.asarray(layer.u[...])
    layer.eval()
    layer(jnp.ones((2, 7)))
    np.testing.assert_array_equal(layer.u[...], before)
    layer.train()
    layer(jnp.ones((2, 7)))
    assert np.abs(np.asarray(layer.u[...]) - before).max() > 0
