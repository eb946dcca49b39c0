"""Networks that turn a picture into another one, and what translators share.

    c7s1-k   reflection 3, convolution 7 × 7, k channels        d_k   convolution 3 × 3, stride 2
    R_k      h + conv(relu(conv(h))), reflection 1, 3 × 3       u_k   transposed convolution 3 × 3, stride 2
    resnet   c7s1-w, d_2w, d_4w, …, R × blocks, u_…, u_w, c7s1-channels, tanh                                    (1)
    instance norm   (h − μ) / √(v + ε),   μ and v over the places of one row and channel                         (2)
Each convolution but the last is followed by (2) and a rectifier, and has no offset: (2) would take it out again.

References:
    [1] Johnson, Alahi & Fei-Fei, Perceptual Losses for Real-Time Style Transfer, 2016, arXiv:1603.08155
    [2] Ulyanov, Vedaldi & Lempitsky, Instance Normalization, 2016, arXiv:1607.08022
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec
from artifex.core.nn.convolution import Conv, ConvTranspose
from artifex.core.nn.init import zeros
from artifex.gan.networks import Pictures, dcgan_normal
from artifex.gan.penalty import PerRow

EPS = 1e-5


def instance_norm(h: Pictures) -> Pictures:
    """h with mean 0 and variance 1 for each row and channel, computed in float32 (eq. 2)."""
    wide = h.astype(jnp.promote_types(h.dtype, jnp.float32))
    mean, var = wide.mean((1, 2), keepdims=True), wide.var((1, 2), keepdims=True)
    return ((wide - mean) * jax.lax.rsqrt(var + EPS)).astype(h.dtype)  # eq. 2


def reflect(h: Pictures, reach: int) -> Float[Array, "batch rows columns channel"]:
    """h continued over its edges by its mirror image."""
    return jnp.pad(h, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")


def conv(inputs: int, outputs: int, window: int, *, rngs: nnx.Rngs, **options: Any) -> Conv:
    """A convolution with weights from N(0, 0.02²)."""
    init: dict[str, Any] = {"kernel_init": dcgan_normal(), "bias_init": zeros, "use_bias": False}
    return Conv(inputs, outputs, (window, window), rngs=rngs, **{**init, **options})


class ResidualBlock(nnx.Module):
    """R_k."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List(conv(width, width, 3, padding="VALID", rngs=rngs) for _ in range(2))

    def __call__(self, h: Pictures) -> Pictures:
        """h and what the block adds."""
        out = jax.nn.relu(instance_norm(self.layers[0](reflect(h, 1))))
        return h + instance_norm(self.layers[1](reflect(out, 1)))


class ResnetTranslator(nnx.Module):
    """Down, residual blocks, up (eq. 1)."""

    def __init__(self, channels: tuple[int, int], width: int, sizes: tuple[int, int], *, rngs: nnx.Rngs) -> None:
        halvings, blocks = sizes
        widths = [width * 2**i for i in range(halvings + 1)]
        pairs = list(itertools.pairwise(widths))
        edge: dict[str, Any] = {"padding": "VALID", "rngs": rngs}
        self.first = conv(channels[0], width, 7, **edge)
        self.down = nnx.List(conv(i, o, 3, strides=2, padding=((1, 1), (1, 1)), rngs=rngs) for i, o in pairs)
        self.blocks = nnx.List(ResidualBlock(widths[-1], rngs=rngs) for _ in range(blocks))
        self.up = nnx.List(
            ConvTranspose(o, i, (3, 3), strides=(2, 2), use_bias=False, kernel_init=dcgan_normal(), rngs=rngs)
            for i, o in reversed(pairs)
        )
        self.last = conv(width, channels[1], 7, use_bias=True, **edge)

    def __call__(self, x: Pictures) -> Float[Array, "batch height width other"]:
        """The other picture, within [−1, 1] (eq. 1)."""
        h = jax.nn.relu(instance_norm(self.first(reflect(x, 3))))
        for layer in self.down:
            h = jax.nn.relu(instance_norm(layer(h)))
        for block in self.blocks:
            h = block(h)
        for layer in self.up:
            h = jax.nn.relu(instance_norm(layer(h)))
        return jnp.tanh(self.last(reflect(h, 3)))


def l1(a: Pictures, b: Pictures) -> PerRow:
    """The mean over pixels of |a − b|, one value a row."""
    return jnp.abs(a - b).reshape(len(a), -1).mean(-1)


def one_source_each(where: str, y: Any, n: int, shape: tuple[int, ...]) -> Pictures:
    """A source picture for each of n rows; y may be one for all.

    Raises:
        ValueError: no sources, another number of them, or of another shape.
    """
    if y is None:
        raise ValueError(f"{where}: expected source pictures y, got none. Pass one for all samples or one each.")
    y = jnp.asarray(y)
    if y.shape[1:] != shape or len(y) not in (1, n):
        raise ValueError(
            f"{where}: expected 1 or {n} source pictures y of shape {shape}, got an array of shape {y.shape}. "
            "Give one for all samples or one each, channels last."
        )
    return jnp.broadcast_to(y, (n, *shape))


def patch_layers(shape: tuple[int, ...]) -> int:
    """Layers, three at most, after which a critic still sees places of 4 × 4 patches."""
    return max(0, min(3, int(math.log2(max(4, *shape[:2]) / 4))))


def source_channels(spec: DataSpec) -> int:
    """Channels of the source pictures; one where the data have none."""
    return (spec.condition_shape or (1,))[-1]


def check_sides(where: str, shape: tuple[int, ...], factor: int) -> None:
    """Refuse pictures whose sides do not divide by `factor`."""
    if len(shape) != 3 or any(side % factor for side in shape[:2]):
        near = [[max(1, f(side / factor)) * factor for side in shape[:2]] for f in (math.floor, math.ceil)]
        raise ValueError(
            f"{where}: expected 'shape' (height, width, channels) with sides that divide by {factor}, got {shape}. "
            f"The nearest sides are {near[0]} and {near[1]}."
        )


def check_sources(where: str, shape: tuple[int, ...], spec: DataSpec) -> None:
    """Refuse data whose y is no source picture of this shape."""
    if spec.condition_shape != shape:
        raise ValueError(
            f"{where}: expected source pictures y of shape {shape}, got {spec.condition_shape}. "
            "Use a data set with pictures under both x and y, such as 'paired' or 'unpaired'."
        )
