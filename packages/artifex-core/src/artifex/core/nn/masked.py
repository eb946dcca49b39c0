"""Masked perceptrons: outputs that see only what comes before them.

    degrees   m(xᵢ) = i,   m(cⱼ) = 0 (a context),   m(hₖ) spread over the degrees below D,   m(θᵢ) = i            (1)
    masks     hidden hₖ sees u where m(hₖ) ≥ m(u),     output θᵢ sees hₖ where m(θᵢ) > m(hₖ)                      (2)
so that θᵢ is a function of c and x₁ … xᵢ₋₁, and of all of them where a layer is at least D − 1 units wide. With a
context some units have degree 0 and see nothing else, or θ₁ could not depend on it but linearly. Each output has
`n_params` numbers, laid out [param, event, batch]: what follows runs along whole batches. The batch is last in every
layer, because a CPU is slower at the gradient of a product that also transposes.

References:
    [1] Germain et al., MADE: Masked Autoencoder for Distribution Estimation, 2015, arXiv:1502.03509
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from artifex.core.nn.init import Initializer, zeros
from artifex.core.nn.mlp import ACTIVATIONS, Activation, gain, offsets

Degrees = Int[np.ndarray, " unit"]
Mask = Bool[np.ndarray, "in out"]
# Numbers of an output that have products of their own, so that their gradients are computed apart, in vectors.
FEW = 4


def hidden_degrees(width: int, dim: int, *, context: bool) -> Degrees:
    """Degrees of a hidden layer, in order, each about equally often (eq. 1)."""
    lowest = 0 if context else 1
    return lowest + np.sort(np.arange(width) % max(dim - lowest, 1))


def sees(below: Int[np.ndarray, " in"], above: Int[np.ndarray, " out"], *, strict: bool = False) -> Mask:
    """Which units of a layer see which of the layer below (eq. 2)."""
    return above[None, :] > below[:, None] if strict else above[None, :] >= below[:, None]


class MaskedLinear(nnx.Module):
    """A linear layer without the weights that its mask leaves out; its variance is that of the inputs it sees."""

    def __init__(
        self, n_in: int, n_out: int, *, kernel_init: Initializer, bias_init: Initializer = zeros, rngs: nnx.Rngs
    ) -> None:
        self.dtype: Any = None  # nnx's switch: what the product is computed in
        self.kernel = nnx.Param(kernel_init(rngs.params(), (n_in, n_out)))
        self.bias = nnx.Param(bias_init(rngs.params(), (n_out,)))

    def __call__(self, x: Float[Array, "in batch"], mask: Mask) -> Float[Array, "out batch"]:
        """W x + b under a mask."""
        return self.parts(x, mask, 1)[0]

    def parts(self, x: Float[Array, "in batch"], mask: Mask, n: int) -> list[Float[Array, "part batch"]]:
        """n equal parts of W x + b under a mask, each by a product of its own."""
        dtype = self.dtype or jnp.result_type(x, self.kernel[...])
        scale = mask * np.sqrt(len(mask) / np.maximum(mask.sum(0), 1))
        kernel, bias = self.kernel[...].astype(dtype) * scale.astype(dtype), self.bias[...].astype(dtype)
        weights = zip(jnp.split(kernel, n, 1), jnp.split(bias, n), strict=True)
        return [w.T @ x.astype(dtype) + b[:, None] for w, b in weights]


class MADE(nnx.Module):
    """A masked perceptron from D numbers to `n_params` numbers for each of them (eq. 2).

    Args:
        hidden_dims: widths of the hidden layers, at least D − 1 each.
        out_init: kernel of the last layer; zeros make a new network give zeros.

    Raises:
        ValueError: a layer is too narrow to carry all dependencies.
    """

    def __init__(
        self,
        dim: int,
        n_params: int,
        hidden_dims: Sequence[int],
        *,
        context_dim: int = 0,
        activation: Activation = "relu",
        out_init: Initializer = zeros,
        rngs: nnx.Rngs,
    ) -> None:
        check_widths(dim, hidden_dims, context_dim)
        self.dim, self.n_params, self.context_dim = dim, n_params, context_dim
        self.activation: Activation = activation
        widths = (dim + context_dim, *hidden_dims, n_params * dim)
        hidden = [
            MaskedLinear(i, o, kernel_init=gain(activation), bias_init=offsets(activation, i), rngs=rngs)
            for i, o in itertools.pairwise(widths[:-1])
        ]
        self.layers = nnx.List([*hidden, MaskedLinear(*widths[-2:], kernel_init=out_init, rngs=rngs)])

    def __call__(
        self, x: Float[Array, "batch dim"], context: Float[Array, "batch context"] | None = None
    ) -> Float[Array, "param dim batch"]:
        """θ of each number (eq. 2)."""
        h = (x if context is None else jnp.concatenate([x, context.astype(x.dtype)], -1)).T
        *hidden, last = zip(self.layers, self.masks(), strict=True)
        for layer, mask in hidden:
            h = ACTIVATIONS[self.activation](layer(h, mask))
        layer, mask = last
        parts = layer.parts(h, mask, self.n_params if self.n_params <= FEW else 1)
        return jnp.stack(parts).reshape(self.n_params, self.dim, len(x))

    def masks(self) -> list[Bool[np.ndarray, "_ _"]]:
        """The masks of all layers, from the sizes (eq. 1, 2)."""
        inputs = np.concatenate([1 + np.arange(self.dim), np.zeros(self.context_dim, int)])
        outputs = np.tile(1 + np.arange(self.dim), self.n_params)
        widths = [layer.bias.shape[0] for layer in list(self.layers)[:-1]]
        hidden = [hidden_degrees(width, self.dim, context=self.context_dim > 0) for width in widths]
        below = [inputs, *hidden]
        return [*(sees(a, b) for a, b in zip(below[:-1], hidden, strict=True)), sees(below[-1], outputs, strict=True)]


def check_widths(dim: int, hidden_dims: Sequence[int], context_dim: int) -> None:
    """Refuse layers that would lose dependencies."""
    least = max(dim - (0 if context_dim else 1), 1)
    if any(width < least for width in hidden_dims):
        raise ValueError(
            f"MADE: expected hidden layers of at least {least} units for {dim} numbers, got {tuple(hidden_dims)}. "
            "A narrower layer loses dependencies."
        )
