"""A multilayer perceptron.

h_0 = x,   h_l = a(W_l h_{l−1} + b_l) for l < L,   y = W_L h_{L−1} + b_L                                     (1)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.nn.init import Initializer, he_normal, lecun_normal, uniform, zeros

Activation = Literal["relu", "tanh", "gelu", "silu", "elu", "leaky_relu"]
ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "tanh": jax.numpy.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
}

RECTIFIERS = ("relu", "leaky_relu")


def gain(activation: Activation) -> Initializer:
    """He's weights before rectifiers, LeCun's otherwise."""
    return he_normal() if activation in RECTIFIERS else lecun_normal()


def offsets(activation: Activation, n_in: int) -> Initializer:
    """Biases of the variance of one weight, so that units of few inputs do not all bend at the origin."""
    return uniform(math.sqrt((6 if activation in RECTIFIERS else 3) / n_in))


class MLP(nnx.Module):
    """Layers of the given widths; the last one is linear (eq. 1)."""

    def __init__(self, widths: Sequence[int], *, activation: Activation = "relu", rngs: nnx.Rngs) -> None:
        self.activation: Activation = activation
        last = len(widths) - 2
        self.layers = nnx.List(
            nnx.Linear(
                widths[i],
                widths[i + 1],
                kernel_init=lecun_normal() if i == last else gain(activation),
                bias_init=zeros,
                rngs=rngs,
            )
            for i in range(len(widths) - 1)
        )

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch out"]:
        """The last layer's outputs (eq. 1)."""
        act = ACTIVATIONS[self.activation]
        for layer in list(self.layers)[:-1]:
            x = act(layer(x))
        return self.layers[-1](x)
