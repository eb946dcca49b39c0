"""The U-shaped network that looks at tokens, a sentence say.

    h ← h + attention(norm(h))                tokens of the picture among themselves                              (1)
    h ← h + attention(norm(h), c)             from the picture to the condition c                                 (2)
    h ← h + W₂ (a ⊙ gelu(b)),   [a, b] = W₁ norm(h)                                                              (3)
    x ← x + out(transformer(in(norm(x))))     in place of the attention over places of `unet`                     (4)

Differs: down, middle and up are those of `unet`; cosines come first in the embedded time, and a row of zeros stands on
each side of a picture that is halved, because published weights were trained so.

References:
    [1] Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022, arXiv:2112.10752
    [2] Shazeer, GLU Variants Improve Transformer, 2020, arXiv:2002.05202 (eq. 3)
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.config import Config
from artifex.core.nn.attention import Attention
from artifex.core.nn.init import zeros
from artifex.diffusion.blocks import Features, GroupNorm, Image, Style, conv, linear, places
from artifex.diffusion.unet import Given, NoiseLevel, Plan, TimeEmbedding, UShape, check_groups, check_sides

Tokens = Float[Array, "batch token width"]
Context = Float[Array, "batch word context"]


@dataclass(frozen=True, kw_only=True)
class ConditionalUNetConfig(Config, tag="conditional_unet"):
    """A U-shaped network with a transformer in each block; as it stands, that of Stable Diffusion 1."""

    shape: tuple[int, int, int] = (64, 64, 4)  # of a latent: height, width, channels
    widths: tuple[int, ...] = (320, 640, 1280, 1280)  # of each level
    n_blocks: int = 2  # of each level on the way down
    attends: tuple[bool, ...] = (True, True, True, False)  # levels with transformers
    n_heads: tuple[int, ...] = (8, 8, 8, 8)  # of each level
    context: int = 768  # width of the condition's tokens
    linear: bool = False  # in and out of a transformer are affine layers instead of 1 × 1 convolutions (2.x)
    groups: int = 32  # of the normalisation
    out_channels: int | None = None  # of the prediction; those of the latent when None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sides("ConditionalUNetConfig", self.shape, 2 ** (len(self.widths) - 1))
        check_groups("ConditionalUNetConfig", self.widths, self.groups)
        if not len(self.widths) == len(self.attends) == len(self.n_heads):
            raise ValueError(
                "ConditionalUNetConfig: expected one entry a level in 'widths', 'attends' and 'n_heads', got "
                f"{len(self.widths)}, {len(self.attends)} and {len(self.n_heads)}. Give each as many."
            )


class GatedGELU(nnx.Module):
    """Two layers with a gate between them (eq. 3)."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.inner = linear((width, 8 * width), rngs=rngs)
        self.outer = linear((4 * width, width), rngs=rngs)

    def __call__(self, x: Tokens) -> Tokens:
        """W₂ (a ⊙ gelu(b)) (eq. 3)."""
        a, b = jnp.split(self.inner(x), 2, axis=-1)
        return self.outer(a * jax.nn.gelu(b, approximate=False))


class TransformerBlock(nnx.Module):
    """Look around, look at the condition, think (eq. 1 to 3)."""

    def __init__(self, width: int, n_heads: int, context: int, *, rngs: nnx.Rngs) -> None:
        self.norm1, self.norm2, self.norm3 = (nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs) for _ in range(3))
        self.among = Attention(width, n_heads, bias=False, rngs=rngs)
        self.across = Attention(width, n_heads, context_width=context, bias=False, rngs=rngs)
        self.mlp = GatedGELU(width, rngs=rngs)

    def __call__(self, h: Tokens, c: Context | None) -> Tokens:
        """Tokens that have seen each other and the condition."""
        h = h + self.among(self.norm1(h))  # eq. 1
        h = h + self.across(self.norm2(h), c)  # eq. 2
        return h + self.mlp(self.norm3(h))  # eq. 3


class Transformer(nnx.Module):
    """A transformer over the places of a picture (eq. 4)."""

    def __init__(self, width: int, config: ConditionalUNetConfig, *, n_heads: int, rngs: nnx.Rngs) -> None:
        layer = linear if config.linear else one_by_one
        self.norm = GroupNorm(width, Style(config.groups, 1e-6))
        self.inp = layer((width, width), rngs=rngs)
        self.block = TransformerBlock(width, n_heads, config.context, rngs=rngs)
        self.out = layer((width, width), rngs=rngs)

    def __call__(self, x: Image, context: Context | None) -> Image:
        """x plus what the transformer adds (eq. 4)."""
        h = self.block(places(self.inp(self.norm(x))), context)
        return x + self.out(h.reshape(x.shape))


def one_by_one(widths: tuple[int, int], *, rngs: nnx.Rngs) -> nnx.Conv:
    """The same affine map at every place, stored as a convolution."""
    return conv(widths, size=1, rngs=rngs)


class ConditionalUNet(nnx.Module):
    """Called as `network(xt, c, y)`, with y the condition's tokens."""

    def __init__(self, config: ConditionalUNetConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        first, embedding, channels = config.widths[0], 4 * config.widths[0], config.shape[-1]
        style = Style(config.groups, 1e-5, embedding)
        self.time = TimeEmbedding(first, embedding, cosine_first=True, rngs=rngs)
        self.inp = conv((channels, first), rngs=rngs)
        self.body = UShape(
            Plan(config.widths, config.n_blocks, config.attends, 1),
            style,
            lambda i, width: Transformer(width, config, n_heads=config.n_heads[i], rngs=rngs),
            rngs=rngs,
        )
        self.norm = GroupNorm(first, style)
        self.out = conv((first, config.out_channels or channels), init=zeros, rngs=rngs)

    def __call__(self, xt: Image, c: NoiseLevel, y: Context | None = None, *, rngs: nnx.Rngs | None = None) -> Features:
        """The prediction from x_t at noise level c under the condition y.

        Raises:
            ValueError: there is no y.
        """
        if y is None:
            raise ValueError("ConditionalUNet: expected a condition y, got none. Pass the tokens that it looks at.")
        e = self.time(c, xt.dtype)
        h = self.body(self.inp(xt), Given(e, y, rngs))
        return self.out(jax.nn.silu(self.norm(h)))
