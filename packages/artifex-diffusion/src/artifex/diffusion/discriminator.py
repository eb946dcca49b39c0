"""A network that tells pictures from reconstructions, patch by patch.

    ℓ = one number for each patch, from convolutions of stride 2 and then 1                                       (1)
    L = ½ E[max(0, 1 − ℓ(x)) + max(0, 1 + ℓ(x̂))]        of the network, the hinge loss                            (2)
    G = −E[ℓ(x̂)]                                          of what it judges                                        (3)

Differs: [1] normalises over the batch, here a row normalises over itself, so that rows do not see each other; the last
layer has no bias, whose gradient would be 0 as long as all logits lie within the margins of eq. 2.

References:
    [1] Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017, arXiv:1611.07004
    [2] Lim & Ye, Geometric GAN, 2017, arXiv:1705.02894 (hinge loss)
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.nn.init import normal, zeros
from artifex.diffusion.blocks import GroupNorm, Image, Style

Logits = Float[Array, "batch rows columns"]
PAD = ((1, 1), (1, 1))


class Discriminator(nnx.Module):
    """Logits of patches (eq. 1)."""

    def __init__(self, channels: int, widths: tuple[int, ...], *, rngs: nnx.Rngs) -> None:
        ins, outs = (channels, *widths), (*widths, 1)
        strides = (*[2] * (len(widths) - 1), 1, 1)
        biased = (*[True] * len(widths), False)
        options: dict[str, Any] = {"padding": PAD, "kernel_init": normal(0.02), "bias_init": zeros, "rngs": rngs}
        self.layers = nnx.List(
            nnx.Conv(i, o, (4, 4), strides=stride, use_bias=bias, **options)
            for i, o, stride, bias in zip(ins, outs, strides, biased, strict=True)
        )
        self.norms = nnx.List(GroupNorm(width, Style(1, 1e-6)) for width in widths[1:])

    def __call__(self, x: Image) -> Logits:
        """ℓ (eq. 1)."""
        first, *middle, last = self.layers
        h = jax.nn.leaky_relu(first(x), 0.2)
        for layer, norm in zip(middle, self.norms, strict=True):
            h = jax.nn.leaky_relu(norm(layer(h)), 0.2)
        return last(h)[..., 0]


def patches_of(side: int, widths: tuple[int, ...]) -> int:
    """How many patches there are along a side."""
    for _ in widths[:-1]:
        side = side // 2
    return side - 2


def hinge(real: Logits, fake: Logits) -> Float[Array, " batch"]:
    """The loss of the network, one value per row (eq. 2)."""
    return 0.5 * (jax.nn.relu(1 - real) + jax.nn.relu(1 + fake)).mean((1, 2))


def deceived(fake: Logits) -> Float[Array, " batch"]:
    """The loss of what it judges, one value per row (eq. 3)."""
    return -jnp.mean(fake, (1, 2))
