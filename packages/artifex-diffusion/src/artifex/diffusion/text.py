"""The text encoder of CLIP, and its tokens.

    h = table[token] + p[position]                                                                                (1)
    h ← h + attention(norm(h)),    from each token to those before it and itself                                  (2)
    h ← h + W₂ a(W₁ norm(h)),      a(x) = x σ(1.702 x) (quick GELU) or GELU                                      (3)
    c = norm(h)                                                                                                   (4)
Stable Diffusion 1 takes quick GELU and all layers; 2 takes GELU and leaves the last one out. Published folders of 2
hold one layer less, so that `skip` stays 0 there.

References:
    [1] Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021, arXiv:2103.00020
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.config import Config
from artifex.core.nn.attention import Attention
from artifex.core.nn.init import normal
from artifex.diffusion.blocks import linear

Ids = Int[Array, "batch token"]
Tokens = Float[Array, "batch token width"]


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig(Config, tag="clip_text"):
    """The text half of CLIP; as it stands, that of Stable Diffusion 1."""

    n_tokens: int = 49_408  # in the vocabulary
    length: int = 77  # tokens of a prompt, with the ones that open and close it
    width: int = 768
    inner: int = 3072  # width within a perceptron
    depth: int = 12  # layers
    n_heads: int = 12
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    skip: int = 0  # layers left out at the end
    fill: int | None = None  # token after the end of a prompt; the one that closes it when None, 0 in 2.x

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.skip < self.depth:
            raise ValueError(
                f"TextEncoderConfig: expected 0 <= 'skip' < depth = {self.depth}, got {self.skip}. "
                "It counts the layers left out at the end."
            )


class TextLayer(nnx.Module):
    """Attention to what came before, and a perceptron (eq. 2 and 3)."""

    def __init__(self, config: TextEncoderConfig, *, rngs: nnx.Rngs) -> None:
        width, inner = config.width, config.inner
        self.activation = config.activation
        self.norm1, self.norm2 = (nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs) for _ in range(2))
        self.attention = Attention(width, config.n_heads, rngs=rngs)
        self.mlp1, self.mlp2 = linear((width, inner), rngs=rngs), linear((inner, width), rngs=rngs)

    def __call__(self, h: Tokens) -> Tokens:
        """Tokens that have seen those before them."""
        h = h + self.attention(self.norm1(h), causal=True)  # eq. 2
        a = self.mlp1(self.norm2(h))
        a = a * jax.nn.sigmoid(1.702 * a) if self.activation == "quick_gelu" else jax.nn.gelu(a, approximate=False)
        return h + self.mlp2(a)  # eq. 3


class TextEncoder(nnx.Module):
    """Token numbers to vectors."""

    def __init__(self, config: TextEncoderConfig, *, rngs: nnx.Rngs) -> None:
        self.table = nnx.Embed(config.n_tokens, config.width, embedding_init=normal(0.02), rngs=rngs)
        self.positions = nnx.Embed(config.length, config.width, embedding_init=normal(0.01), rngs=rngs)
        self.layers = nnx.List(TextLayer(config, rngs=rngs) for _ in range(config.depth - config.skip))
        self.norm = nnx.LayerNorm(config.width, epsilon=1e-5, rngs=rngs)

    def __call__(self, ids: Ids) -> Tokens:
        """c of each token (eq. 4); NaN where a token is not in the vocabulary."""
        known = (ids >= 0) & (ids < self.table.num_embeddings)
        h = jnp.where(known[..., None], self.table(ids), jnp.nan) + self.positions(jnp.arange(ids.shape[1]))  # eq. 1
        for layer in self.layers:
            h = layer(h)
        return self.norm(h)


def empty_prompt(config: TextEncoderConfig) -> Int[Array, " token"]:
    """The tokens of a prompt without words; the last two of the vocabulary open and close."""
    close = config.n_tokens - 1
    rest = [close if config.fill is None else config.fill] * (config.length - 2)
    return jnp.array([close - 1, close, *rest], jnp.int32)
