"""The transformer of DiT: patches of a noisy picture, moved by noise level and class.

    h = patches(x_t) W + p                          p fixed sines and cosines of the place                        (1)
    e = W₂ silu(W₁ cos-sin(c)) + table[y]           noise level and class                                           (2)
    [β₁, γ₁, α₁, β₂, γ₂, α₂] = W silu(e)            for each block, with W = 0 at the start                      (3)
    h ← h + α₁ attention((1 + γ₁) norm(h) + β₁)                                                                   (4)
    h ← h + α₂ mlp((1 + γ₂) norm(h) + β₂)                                                                         (5)
    out = unpatch(W ((1 + γ) norm(h) + β)),   [β, γ] = W silu(e)                                                  (6)
With α = 0 each block starts as the identity, and with W = 0 in eq. 6 the network as the zero function (adaLN-Zero).

References:
    [1] Peebles & Xie, Scalable Diffusion Models with Transformers, 2023, arXiv:2212.09748
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.config import Config
from artifex.core.nn.attention import Attention
from artifex.core.nn.embed import grid_positions, sinusoidal
from artifex.core.nn.init import Initializer, glorot_uniform, normal, scaled, zeros
from artifex.diffusion.blocks import ClassTable, Embedding, Features, Image, Label, linear
from artifex.diffusion.unet import NoiseLevel, check_sides

Tokens = Float[Array, "batch token width"]
Move = Float[Array, "batch 1 width"]  # the same for all tokens
Patches = Float[Array, "batch token part"]
Size = Literal["S", "B", "L", "XL"]
SIZES: dict[Size, tuple[int, int, int]] = {  # depth, width, heads [1, table 1]
    "S": (12, 384, 6),
    "B": (12, 768, 12),
    "L": (24, 1024, 16),
    "XL": (28, 1152, 16),
}
FREQUENCIES = 256  # sines and cosines of the time [1]


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(Config, tag="transformer"):
    """A transformer over patches; as it stands, DiT-S/4 for 32 × 32 × 4 latents of 1000 classes."""

    shape: tuple[int, int, int] = (32, 32, 4)  # of a picture or latent: height, width, channels
    patch: int = 4  # side of a patch
    depth: int = 12  # blocks
    width: int = 384
    n_heads: int = 6
    n_classes: int | None = 1000  # y counts from 0; y = n_classes says that no class is given
    out_channels: int | None = None  # of the prediction; those of the picture when None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sides("TransformerConfig", self.shape, self.patch)
        if self.width % 4 or self.width % self.n_heads:
            raise ValueError(
                f"TransformerConfig: expected 'width' that divides by 4 and by n_heads = {self.n_heads}, got "
                f"{self.width}. Positions take a quarter each for the sines and cosines of rows and columns."
            )


def sized(size: Size, patch: int, **fields: Any) -> TransformerConfig:
    """The config of DiT-`size`/`patch`, for instance `sized("XL", 2)`."""
    depth, width, n_heads = SIZES[size]
    return TransformerConfig(depth=depth, width=width, n_heads=n_heads, patch=patch, **fields)


class Condition(nnx.Module):
    """Noise level and class as one vector (eq. 2)."""

    def __init__(self, width: int, n_classes: int | None, *, rngs: nnx.Rngs) -> None:
        self.linear1 = linear((FREQUENCIES, width), init=normal(0.02), rngs=rngs)
        self.linear2 = linear((width, width), init=normal(0.02), rngs=rngs)
        self.table = None if n_classes is None else ClassTable(n_classes, width, rngs=rngs)

    def __call__(self, c: NoiseLevel, y: Label | None, dtype: Any) -> Embedding:
        """e of each picture (eq. 2)."""
        e = sinusoidal(c, FREQUENCIES, cosine_first=True).astype(dtype)
        e = self.linear2(jax.nn.silu(self.linear1(e)))
        return e if self.table is None else self.table(y, e)


class Block(nnx.Module):
    """Attention and perceptron, moved by the condition (eq. 3 to 5)."""

    def __init__(self, width: int, n_heads: int, *, rngs: nnx.Rngs) -> None:
        self.attention = Attention(width, n_heads, inits=(joint_glorot(), glorot_uniform()), rngs=rngs)
        self.mlp1 = linear((width, 4 * width), rngs=rngs)
        self.mlp2 = linear((4 * width, width), rngs=rngs)
        self.modulation = linear((width, 6 * width), init=zeros, rngs=rngs)

    def __call__(self, h: Tokens, e: Embedding) -> Tokens:
        """Tokens that have seen each other."""
        b1, g1, a1, b2, g2, a2 = jnp.split(self.modulation(jax.nn.silu(e))[:, None], 6, axis=-1)  # eq. 3
        h = h + a1 * self.attention(modulate(h, b1, g1))  # eq. 4
        return h + a2 * self.mlp2(jax.nn.gelu(self.mlp1(modulate(h, b2, g2))))  # eq. 5


def joint_glorot() -> Initializer:
    """Glorot's variance for q, k and v as the one kernel that [1] draws."""
    return scaled(lambda fan_in, fan_out: 2 / (fan_in + 3 * fan_out), "uniform")


def modulate(h: Tokens, shift: Move, scale: Move) -> Tokens:
    """(1 + γ) norm(h) + β, the norm without parameters and in float32."""
    return ((1 + scale) * jax.nn.standardize(h.astype(jnp.float32), epsilon=1e-6) + shift).astype(h.dtype)


class Transformer(nnx.Module):
    """Called as `network(xt, c, y)`, the contract of `prediction`."""

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        width, area = config.width, config.patch**2
        self.condition = Condition(width, config.n_classes, rngs=rngs)
        self.inp = linear((area * config.shape[-1], width), rngs=rngs)
        self.blocks = nnx.List(Block(width, config.n_heads, rngs=rngs) for _ in range(config.depth))
        self.modulation = linear((width, 2 * width), init=zeros, rngs=rngs)
        self.out = linear((width, area * (config.out_channels or config.shape[-1])), init=zeros, rngs=rngs)

    def __call__(self, xt: Image, c: NoiseLevel, y: Label | None = None, *, rngs: nnx.Rngs | None = None) -> Features:
        """The prediction from x_t at noise level c for class y; nothing here is random."""
        e = self.condition(c, y, xt.dtype)
        rows, columns = (side // self.config.patch for side in xt.shape[1:3])
        h = self.inp(patches(xt, self.config.patch))
        h = h + grid_positions(rows, columns, self.config.width).astype(h.dtype)  # eq. 1
        for block in self.blocks:
            h = block(h, e)
        shift, scale = jnp.split(self.modulation(jax.nn.silu(e))[:, None], 2, axis=-1)
        return unpatch(self.out(modulate(h, shift, scale)), (rows, columns), self.config.patch)  # eq. 6


def patches(x: Image, side: int) -> Patches:
    """Squares of a picture as tokens, row by row."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // side, side, width // side, side, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1, side * side * channels)


def unpatch(h: Patches, grid: tuple[int, int], side: int) -> Features:
    """The inverse of `patches`."""
    rows, columns = grid
    h = h.reshape(len(h), rows, columns, side, side, -1).transpose(0, 1, 3, 2, 4, 5)
    return h.reshape(len(h), rows * side, columns * side, -1)
