"""Layers with an equalised learning rate.

    y = x W · m/√n_in + b · m,    W ~ N(0, 1/m²)                                                                  (1)
Scaling when the layer runs, not when it is made, gives every weight the same step under Adam; the rate m < 1 makes the
steps of a whole network smaller.

References:
    [1] Karras et al., Progressive Growing of GANs, 2018, arXiv:1710.10196, section 4.1
    [2] Karras et al., A Style-Based Generator Architecture, 2019, arXiv:1812.04948: the rate of the mapping network
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.nn import convolution
from artifex.core.nn.init import constant, normal


class Linear(nnx.Module):
    """A dense layer (eq. 1)."""

    def __init__(
        self, n_in: int, n_out: int, *, rate: float = 1.0, bias: Sequence[float] = (0.0,), rngs: nnx.Rngs
    ) -> None:
        self.rate, self.scale = rate, rate / math.sqrt(n_in)
        self.dtype: Any = None  # of the computation; that of x where none is named
        self.kernel = nnx.Param(normal(1 / rate)(rngs.params(), (n_in, n_out)))
        self.bias = nnx.Param(jnp.broadcast_to(jnp.asarray(bias, jnp.float32) / rate, (n_out,)))

    def __call__(self, x: Float[Array, "*batch n_in"]) -> Float[Array, "*batch n_out"]:
        """The layer's outputs (eq. 1)."""
        x, kernel, bias = cast(self.dtype, x, self.kernel[...], self.bias[...])
        return x @ (kernel * self.scale) + bias * self.rate


class Conv(nnx.Module):
    """A convolution that keeps the size at stride 1 and pads nothing at others (eq. 1)."""

    def __init__(self, n_in: int, n_out: int, size: int, *, stride: int = 1, bias: bool = True, rngs: nnx.Rngs) -> None:
        self.stride, self.scale = stride, 1 / math.sqrt(n_in * size**2)
        self.dtype: Any = None
        self.kernel = nnx.Param(normal(1.0)(rngs.params(), (size, size, n_in, n_out)))
        self.bias = nnx.Param(constant(0.0)(rngs.params(), (n_out,))) if bias else None

    def __call__(self, x: Float[Array, "batch height width n_in"]) -> Float[Array, "batch height_out width_out n_out"]:
        """The layer's outputs (eq. 1)."""
        x, kernel = cast(self.dtype, x, self.kernel[...])
        padding = (kernel.shape[0] - 1) // 2 if self.stride == 1 else 0
        y = convolve(x, kernel * self.scale, padding, stride=self.stride)
        return y if self.bias is None else y + self.bias[...].astype(y.dtype)


def cast(dtype: Any, x: Array, *weights: Array) -> tuple[Array, ...]:
    """x and the weights in one dtype."""
    dtype = x.dtype if dtype is None else dtype
    return tuple(array.astype(dtype) for array in (x, *weights))


def convolve(
    x: Float[Array, "batch height width n_in"],
    kernel: Float[Array, "window window n_in n_out"],
    padding: int,
    *,
    stride: int = 1,
) -> Float[Array, "batch height_out width_out n_out"]:
    """A convolution with zeros around x."""
    if kernel.shape[0] == 1 and stride == 1:
        return jnp.einsum("bijc,co->bijo", x, kernel[0, 0])
    return convolution.convolve(x, kernel, (stride, stride), [(padding, padding)] * 2)


def leaky(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """√2 · leaky ReLU, which keeps E x² of a normal x nearly as it is."""
    return jax.nn.leaky_relu(x, 0.2) * jnp.asarray(math.sqrt(2), x.dtype)
