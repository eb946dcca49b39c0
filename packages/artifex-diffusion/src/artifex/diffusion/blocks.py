"""Parts of the convolutional networks: residual block, attention over places, halving and doubling.

    h = x + W₂ silu(norm(W₁ silu(norm(x)) + P silu(e)))      residual block, e the embedded time                (1)
    y = x + attention(norm(x))                               over the places of a picture                       (2)
x is projected where its width changes. The last kernel of a branch starts at 0 where the network says so, so that the
branch starts as the identity.

References:
    [1] Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.nn.attention import Attention
from artifex.core.nn.init import Initializer, glorot_uniform, normal, zeros

Image = Float[Array, "batch height width channel"]
Features = Float[Array, "batch height width out"]  # of another width
Label = Int[Array, " batch"]
Embedding = Float[Array, "batch embedding"]


class Style(NamedTuple):
    """What the blocks of a network have in common."""

    groups: int  # of the normalisation
    epsilon: float  # added to its variance
    embedding: int | None = None  # width of the embedded time; None: the blocks see no time
    dropout: float = 0.0
    last: Initializer = glorot_uniform()  # of the last kernel of a branch


def conv(widths: tuple[int, int], *, size: int = 3, init: Initializer | None = None, rngs: nnx.Rngs) -> nnx.Conv:
    """A convolution that keeps the sides."""
    window = (size, size)
    return nnx.Conv(*widths, window, kernel_init=init or glorot_uniform(), bias_init=zeros, rngs=rngs)


def linear(widths: tuple[int, int], *, init: Initializer | None = None, rngs: nnx.Rngs) -> nnx.Linear:
    """An affine layer."""
    return nnx.Linear(*widths, kernel_init=init or glorot_uniform(), bias_init=zeros, rngs=rngs)


def norm(width: int, style: Style, *, rngs: nnx.Rngs) -> nnx.GroupNorm:
    """Group normalisation with a learned scale and shift."""
    return nnx.GroupNorm(width, num_groups=style.groups, epsilon=style.epsilon, rngs=rngs)


class ResBlock(nnx.Module):
    """Two convolutions around a sum (eq. 1)."""

    def __init__(self, widths: tuple[int, int], style: Style, *, rngs: nnx.Rngs) -> None:
        inner, outer = widths
        self.norm1 = norm(inner, style, rngs=rngs)
        self.conv1 = conv(widths, rngs=rngs)
        self.time = None if style.embedding is None else linear((style.embedding, outer), rngs=rngs)
        self.norm2 = norm(outer, style, rngs=rngs)
        self.dropout = nnx.Dropout(style.dropout)
        self.conv2 = conv((outer, outer), init=style.last, rngs=rngs)
        self.shortcut = None if inner == outer else conv(widths, size=1, rngs=rngs)

    def __call__(self, x: Image, e: Embedding | None = None, *, rngs: nnx.Rngs | None = None) -> Features:
        """x plus what the branch adds (eq. 1); with dropout where there are random streams."""
        h = self.conv1(jax.nn.silu(self.norm1(x)))
        if self.time is not None and e is not None:
            h = h + self.time(jax.nn.silu(e))[:, None, None]
        h = self.dropout(jax.nn.silu(self.norm2(h)), deterministic=rngs is None, rngs=rngs)
        return self.conv2(h) + (x if self.shortcut is None else self.shortcut(x))


class PlaceAttention(nnx.Module):
    """Attention of each place of a picture to all (eq. 2)."""

    def __init__(self, width: int, style: Style, *, n_heads: int = 1, rngs: nnx.Rngs) -> None:
        self.norm = norm(width, style, rngs=rngs)
        self.attention = Attention(width, n_heads, inits=(glorot_uniform(), style.last), rngs=rngs)

    def __call__(self, x: Image, context: Any = None) -> Image:
        """x plus what its places gather; there is no context to look at."""
        return x + self.attention(places(self.norm(x))).reshape(x.shape)


def places(x: Image) -> Float[Array, "batch place channel"]:
    """The places of a picture as tokens."""
    return x.reshape(len(x), -1, x.shape[-1])


class ClassTable(nnx.Module):
    """A vector for each class, and one more for no class."""

    def __init__(self, n_classes: int, width: int, *, rngs: nnx.Rngs) -> None:
        self.n_classes = n_classes
        self.rows = nnx.Embed(n_classes + 1, width, embedding_init=normal(0.02), rngs=rngs)

    def __call__(self, y: Label | None, e: Embedding) -> Embedding:
        """e plus the rows of the classes; NaN for a class out of range, which the loss refuses."""
        y = jnp.full(len(e), self.n_classes) if y is None else y
        valid = (y >= 0) & (y <= self.n_classes)
        return e + jnp.where(valid[:, None], self.rows(jnp.clip(y, 0, self.n_classes)), jnp.nan).astype(e.dtype)


class Downsample(nnx.Module):
    """A convolution that halves the sides; `before` rows and columns of zeros stand before the picture, one after."""

    def __init__(self, width: int, before: int, *, rngs: nnx.Rngs) -> None:
        padding = ((before, 1), (before, 1))
        self.conv = nnx.Conv(
            width, width, (3, 3), strides=2, padding=padding, kernel_init=glorot_uniform(), bias_init=zeros, rngs=rngs
        )

    def __call__(self, x: Image) -> Float[Array, "batch half_height half_width channel"]:
        """A picture of half the sides."""
        return self.conv(x)


class Upsample(nnx.Module):
    """Each place four times, then a convolution."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.conv = conv((width, width), rngs=rngs)

    def __call__(self, x: Image) -> Float[Array, "batch double_height double_width channel"]:
        """A picture of twice the sides."""
        return self.conv(jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2))
