"""Parts of the convolutional networks: residual block, attention over places, halving and doubling.

    h = x + W₂ silu(norm(W₁ silu(norm(x)) + P silu(e)))      residual block, e the embedded time                (1)
    y = x + attention(norm(x))                               over the places of a picture                       (2)
    norm(x) = s (x − μ_g)/√(v_g + ε) + b                     mean and variance of each group of channels        (3)
    conv(each place four times) = for each phase of a place, 2 × 2 kernels k₀ | k₁ + k₂ and k₀ + k₁ | k₂         (4)
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


def pointwise(layer: Any, x: Image) -> Features:
    """A 1 × 1 convolution as the affine map of places that it is, whose gradient is quicker on CPUs."""
    return x @ layer.kernel[0, 0] + layer.bias[...]


class GroupNorm(nnx.Module):
    """Group normalisation with a learned scale and shift (eq. 3), in float32.

    Moments are taken of each channel, and of the groups then: on CPUs a quarter of the time of `nnx.GroupNorm`, which
    splits the channel axis first.
    """

    def __init__(self, width: int, style: Style) -> None:
        self.groups, self.epsilon = style.groups, style.epsilon
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: Image) -> Image:
        """x normalised, in its dtype."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean, square = self.grouped(wide.mean((1, 2))), self.grouped((wide**2).mean((1, 2)))
        factor = self.scale[...] * jax.lax.rsqrt(jnp.maximum(square - mean**2, 0) + self.epsilon)
        shift = self.bias[...] - mean * factor
        return (factor[:, None, None] * wide + shift[:, None, None]).astype(x.dtype)  # eq. 3

    def grouped(self, moment: Float[Array, "batch channel"]) -> Float[Array, "batch channel"]:
        """The mean of each channel's group."""
        groups = moment.reshape(len(moment), self.groups, -1)
        return jnp.broadcast_to(groups.mean(-1, keepdims=True), groups.shape).reshape(moment.shape)


class ResBlock(nnx.Module):
    """Two convolutions around a sum (eq. 1)."""

    def __init__(self, widths: tuple[int, int], style: Style, *, rngs: nnx.Rngs) -> None:
        inner, outer = widths
        self.norm1 = GroupNorm(inner, style)
        self.conv1 = conv(widths, rngs=rngs)
        self.time = None if style.embedding is None else linear((style.embedding, outer), rngs=rngs)
        self.norm2 = GroupNorm(outer, style)
        self.dropout = nnx.Dropout(style.dropout)
        self.conv2 = conv((outer, outer), init=style.last, rngs=rngs)
        self.shortcut = None if inner == outer else conv(widths, size=1, rngs=rngs)

    def __call__(self, x: Image, e: Embedding | None = None, *, rngs: nnx.Rngs | None = None) -> Features:
        """x plus what the branch adds (eq. 1); with dropout where there are random streams."""
        h = self.conv1(jax.nn.silu(self.norm1(x)))
        if self.time is not None and e is not None:
            h = h + self.time(jax.nn.silu(e))[:, None, None]
        h = self.dropout(jax.nn.silu(self.norm2(h)), deterministic=rngs is None, rngs=rngs)
        return self.conv2(h) + (x if self.shortcut is None else pointwise(self.shortcut, x))


class PlaceAttention(nnx.Module):
    """Attention of each place of a picture to all (eq. 2)."""

    def __init__(self, width: int, style: Style, *, n_heads: int = 1, rngs: nnx.Rngs) -> None:
        self.norm = GroupNorm(width, style)
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
    """Each place four times, then a convolution, made as one of the small picture: half of the products (eq. 4)."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.conv: Any = conv((width, width), rngs=rngs)  # with a bias, which nnx.Conv need not have

    def __call__(self, x: Image) -> Float[Array, "batch double_height double_width channel"]:
        """A picture of twice the sides."""
        _, height, width, _ = x.shape
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        corners = [padded[:, a : height + 1 + a, b : width + 1 + b] for a in (0, 1) for b in (0, 1)]
        # A product of matrices: on CPUs a 2 × 2 convolution of these widths has a gradient that takes 1.5 seconds.
        windows = jnp.concatenate(corners, -1) @ phases(self.conv.kernel[...])
        windows = windows.reshape(*windows.shape[:3], 2, 2, -1)
        # The upper phase of a place sees it and the one above, the lower phase it and the one below.
        rows = jnp.stack([windows[:, a : a + height, :, a] for a in (0, 1)], 2)
        both = jnp.stack([rows[:, :, :, b : b + width, b] for b in (0, 1)], 4)
        return both.reshape(len(x), 2 * height, 2 * width, -1) + self.conv.bias[...]


def phases(kernel: Float[Array, "3 3 inner outer"]) -> Float[Array, "inners outers"]:
    """The kernels of the four phases side by side (eq. 4)."""
    rows = folded(kernel)  # phase, tap, column, ...
    both = folded(jnp.moveaxis(rows, 2, 0))  # phase, tap of columns, then of rows
    return both.transpose(3, 1, 4, 2, 0, 5).reshape(4 * kernel.shape[2], -1)


def folded(kernel: Float[Array, "3 ..."]) -> Float[Array, "2 2 ..."]:
    """Phase and tap in the place of three rows."""
    first, middle, last = kernel
    return jnp.stack([jnp.stack([first, middle + last]), jnp.stack([first + middle, last])])
