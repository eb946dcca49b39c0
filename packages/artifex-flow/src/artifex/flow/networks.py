"""Conditioners: from the numbers that pass through, and the context, to parameters of maps of the others.

    h_0 = W_0 [x, c] + b_0,    h_l = h_{l−1} + W₂ a(W₁ a(h_{l−1}))    residual [1]                              (1)
    h_l = a(W_l h_{l−1} + b_l)                                        perceptron                                 (2)
    params[p, i, row] = (W h_L + b)[p D + i]                                                                     (3)
The batch comes last in every layer: the elementwise maps behind (3) run along whole batches, and a CPU is slower
at the gradient of a product that also transposes. The last layer starts at zero, which puts a map where
parameters of zero put it, or near zero: behind a norm that gives mean 0 and variance 1 the gradients of shifts of zero
would be mere rounding, which Adam blows up to whole steps.

References:
    [1] He et al., Identity Mappings in Deep Residual Networks, 2016, arXiv:1603.05027
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.config import Config
from artifex.core.nn.init import Initializer, normal, zeros
from artifex.core.nn.mlp import ACTIVATIONS, Activation, gain, offsets
from artifex.flow.bijector import Context

Vector = Float[Array, "batch width"]
MapParams = Float[Array, "param event batch"]


@dataclass(frozen=True, kw_only=True)
class MLPConfig(Config, tag="mlp"):
    """A perceptron (eq. 2)."""

    hidden_dims: tuple[int, ...] = (128, 128)
    activation: Activation = "relu"


@dataclass(frozen=True, kw_only=True)
class ResNetConfig(Config, tag="resnet"):
    """Residual blocks of two layers (eq. 1)."""

    width: int = 256
    n_blocks: int = 2
    activation: Activation = "relu"


AnyNet = MLPConfig | ResNetConfig


NEAR_ZERO = normal(0.01)


class Linear(nnx.Module):
    """A linear layer with the batch last."""

    def __init__(
        self, n_in: int, n_out: int, *, kernel_init: Initializer, bias_init: Initializer = zeros, rngs: nnx.Rngs
    ) -> None:
        self.dtype: Any = None  # nnx's switch: what the product is computed in
        self.kernel = nnx.Param(kernel_init(rngs.params(), (n_in, n_out)))
        self.bias = nnx.Param(bias_init(rngs.params(), (n_out,)))

    def __call__(self, x: Float[Array, "in batch"]) -> Float[Array, "out batch"]:
        """W x + b."""
        dtype = self.dtype or jnp.result_type(x, self.kernel[...])
        return self.kernel[...].astype(dtype).T @ x.astype(dtype) + self.bias[...].astype(dtype)[:, None]


def hidden_layer(n_in: int, n_out: int, activation: Activation, *, rngs: nnx.Rngs) -> Linear:
    """A layer whose units bend at points spread like the data."""
    return Linear(n_in, n_out, kernel_init=gain(activation), bias_init=offsets(activation, n_in), rngs=rngs)


class PerceptronBody(nnx.Module):
    """The hidden layers of a perceptron (eq. 2)."""

    def __init__(self, config: MLPConfig, n_in: int, *, rngs: nnx.Rngs) -> None:
        self.activation: Activation = config.activation
        widths = (n_in, *config.hidden_dims)
        self.width = widths[-1]
        self.layers = nnx.List(hidden_layer(i, o, config.activation, rngs=rngs) for i, o in itertools.pairwise(widths))

    def __call__(self, x: Float[Array, "in batch"]) -> Float[Array, "hidden batch"]:
        """h_L."""
        for layer in self.layers:
            x = ACTIVATIONS[self.activation](layer(x))
        return x


class ResidualBody(nnx.Module):
    """The blocks of a residual network (eq. 1)."""

    def __init__(self, config: ResNetConfig, n_in: int, *, rngs: nnx.Rngs) -> None:
        self.activation: Activation = config.activation
        self.width = config.width

        def linear(n_in: int) -> Linear:
            return hidden_layer(n_in, config.width, config.activation, rngs=rngs)

        self.first = linear(n_in)
        self.blocks = nnx.List(nnx.List([linear(config.width), linear(config.width)]) for _ in range(config.n_blocks))

    def __call__(self, x: Float[Array, "in batch"]) -> Float[Array, "hidden batch"]:
        """h_L."""
        act = ACTIVATIONS[self.activation]
        h = self.first(x)
        for inner, outer in self.blocks:
            h = h + outer(act(inner(act(h))))
        return act(h)


class Conditioner(nnx.Module):
    """A network from x and the context to the parameters of maps; `sizes` are those of x, and how many maps."""

    def __init__(
        self,
        net: AnyNet,
        sizes: tuple[int, int],
        n_params: int,
        *,
        context_dim: int = 0,
        out_init: Initializer = zeros,
        rngs: nnx.Rngs,
    ) -> None:
        n_in, n_out = sizes
        if isinstance(net, MLPConfig):
            self.body: PerceptronBody | ResidualBody = PerceptronBody(net, n_in + context_dim, rngs=rngs)
        else:
            self.body = ResidualBody(net, n_in + context_dim, rngs=rngs)
        self.n_params = n_params
        self.out = Linear(self.body.width, n_params * n_out, kernel_init=out_init, rngs=rngs)

    def __call__(self, x: Vector, context: Context | None = None) -> MapParams:
        """Parameters [n_params, n_out, batch] (eq. 3)."""
        return self.out(self.body(joined(x, context).T)).reshape(self.n_params, -1, len(x))  # eq. 3


def joined(x: Vector, context: Context | None) -> Float[Array, "batch joined"]:
    """A vector with its context."""
    return x if context is None else jnp.concatenate([x, context.astype(x.dtype)], -1)
