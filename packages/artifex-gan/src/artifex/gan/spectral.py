"""Spectral normalisation: a layer divided by the largest singular value of its kernel.

    W                               kernel as a matrix [window · in, out]
    u ← Wᵀ v / ‖Wᵀ v‖ after v ← W u / ‖W u‖                          one power iteration a pass in training       (1)
    σ = vᵀ W u,   layer(x) = (W / σ) x + b                           the gradient passes through W in σ           (2)
u and v are Variables of the layer: they are part of every checkpoint, and a resumed run goes on from them.

References:
    [1] Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018, arXiv:1802.05957
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.nn.init import normal

Matrix = Float[Array, "inputs outputs"]
EPS = 1e-12  # keeps the direction of a kernel of zeros finite
START = 15  # iterations at construction, so that σ is no wild guess in the first step


class Direction(nnx.Variable):
    """A singular vector that no gradient moves."""


class SpectralNorm(nnx.Module):
    """A linear or convolutional layer whose kernel has spectral norm 1 (eq. 2)."""

    def __init__(self, layer: nnx.Linear | nnx.Conv, *, rngs: nnx.Rngs) -> None:
        self.layer = layer
        self.bias = layer.bias  # added after the division
        layer.bias, layer.use_bias = nnx.data(None), False
        self.deterministic = False  # nnx's switch for evaluation: the vectors stay
        kernel = matrix(layer.kernel[...])
        u, v = normal(1.0)(rngs.params(), kernel.shape[1:]), jnp.zeros(len(kernel))
        for _ in range(START):
            u, v = iterate(kernel, u)
        self.u, self.v = Direction(u), Direction(v)

    def __call__(self, x: Float[Array, "*batch in"]) -> Float[Array, "*other out"]:
        """The normalised layer's output (eq. 2)."""
        y = self.layer(x) / self.sigma().astype(x.dtype)
        return y if self.bias is None else y + self.bias[...].astype(y.dtype)

    def sigma(self) -> Float[Array, ""]:
        """The estimate of the largest singular value; in training mode the vectors move first (eq. 1)."""
        kernel = matrix(self.layer.kernel[...])
        if not self.deterministic:
            self.u[...], self.v[...] = iterate(jax.lax.stop_gradient(kernel), self.u[...])
        # Sums of products, not matmul: in a bfloat16 run these stay float32.
        return (self.v[...] * (kernel * self.u[...]).sum(1)).sum()  # eq. 2


def matrix(kernel: Float[Array, "..."]) -> Matrix:
    """A kernel [*window, in, out] as a matrix."""
    return kernel.reshape(-1, kernel.shape[-1])


def iterate(kernel: Matrix, u: Float[Array, " outputs"]) -> tuple[Float[Array, " outputs"], Float[Array, " inputs"]]:
    """u and v after one power iteration (eq. 1)."""
    v = unit((kernel * u).sum(1))
    return unit((kernel * v[:, None]).sum(0)), v


def unit(x: Float[Array, " width"]) -> Float[Array, " width"]:
    """x / ‖x‖."""
    return x / (jnp.sqrt((x**2).sum()) + EPS)
