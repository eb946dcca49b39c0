"""Generators and critics that several models share: strided convolutions, and perceptrons.

    conv generator   z -> s × s × 2^(k−1) w -> ... -> 2^k s × 2^k s × channel, doubling the sides k times         (1)
    conv critic      the same way back, then one convolution over the s × s places that are left                 (2)
with s from 4 to 7: a side is 8, 10, 12, 14, or twice such a side, and so on.

References:
    [1] Radford, Metz & Chintala, Unsupervised Representation Learning with Deep Convolutional GANs, 2016,
        arXiv:1511.06434
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.config import Config
from artifex.core.nn.convolution import Conv, ConvTranspose
from artifex.core.nn.init import Initializer, lecun_normal, normal, zeros
from artifex.core.nn.mlp import ACTIVATIONS, MLP, Activation, gain
from artifex.gan.spectral import SpectralNorm

Event = tuple[int, ...]
Pictures = Float[Array, "batch height width channel"]
Latent = Float[Array, "batch latent"]
LEAK = 0.2  # slope of the critics' rectifiers below 0 [1]
SMALLEST = 4  # side of the first feature map, at least


@dataclass(frozen=True, kw_only=True)
class ConvNetworks(Config, tag="conv"):
    """Strided convolutions on pictures (eq. 1, 2)."""

    width: int = 64  # channels next to the picture; doubled with each halving of the sides
    norm: Literal["batch", "none"] = "batch"  # of the generator
    critic_norm: Literal["batch", "spectral", "none"] = "batch"


@dataclass(frozen=True, kw_only=True)
class MLPNetworks(Config, tag="mlp"):
    """Perceptrons on data of any shape."""

    hidden_dims: tuple[int, ...] = (128, 128, 128)  # of both sides
    activation: Activation = "leaky_relu"


AnyNetworks = ConvNetworks | MLPNetworks


def dcgan_normal() -> Initializer:
    """N(0, 0.02²) [1]."""
    return normal(0.02)


def batch_norm(width: int, *, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Batch normalisation with scales from N(1, 0.02²) [1]."""
    around_one: Initializer = lambda key, shape, dtype=jnp.float32: 1 + normal(0.02)(key, shape, dtype)  # noqa: E731
    return nnx.BatchNorm(width, momentum=0.9, scale_init=around_one, bias_init=zeros, rngs=rngs)


def halvings(side: int) -> int:
    """How often a side halves until it is between 4 and 7."""
    return max(0, int(math.log2(max(side, 1) / SMALLEST)))


def check_sides(where: str, shape: Event) -> int:
    """How often the sides of a picture halve.

    Raises:
        ValueError: a side does not halve down to 4 … 7, or the sides halve another number of times; with valid ones.
    """
    if not suits(shape):
        side = shape[0] if shape else 0
        unit = 2 ** max(halvings(side), 1)
        near = [max(2 * SMALLEST, f(side / unit) * unit) for f in (math.floor, math.ceil)]
        raise ValueError(
            f"{where}: expected 'shape' (height, width, channels) with sides that halve equally often, down to 4, 5, 6 "
            f"or 7, got {shape}. The nearest squares have sides {near[0]} and {near[1]}."
        )
    return halvings(min(shape[:2]))


def suits(shape: Event) -> bool:
    """Whether both sides of a picture halve equally often, down to 4 … 7."""
    times = halvings(min(shape[:2])) if len(shape) == 3 else 0
    factor = 2**times
    return times > 0 and all(side % factor == 0 and side // factor in range(4, 8) for side in shape[:2])


def networks_for(shape: Event, **fields: Any) -> AnyNetworks:
    """Convolutions of width 32 where the sides suit them, or else perceptrons."""
    return ConvNetworks(width=32, **fields) if suits(shape) else MLPNetworks()


class ConvGenerator(nnx.Module):
    """A linear layer, then transposed convolutions of stride 2 (eq. 1)."""

    def __init__(self, config: ConvNetworks, shape: Event, latent: int, *, bounded: bool, rngs: nnx.Rngs) -> None:
        times = check_sides("ConvGenerator", shape)
        self.bounded = bounded
        widths = [config.width * 2**i for i in reversed(range(times))]  # eq. 1
        self.start = (shape[0] // 2**times, shape[1] // 2**times, widths[0])
        plain = config.norm == "none"
        init: dict[str, Any] = {"kernel_init": dcgan_normal(), "bias_init": zeros, "rngs": rngs}
        self.first = nnx.Linear(latent, math.prod(self.start), use_bias=plain, **init)
        outs = [*widths[1:], shape[-1]]
        self.layers = nnx.List(
            ConvTranspose(i, o, (4, 4), strides=(2, 2), use_bias=plain or o is outs[-1], **init)
            for i, o in zip(widths, outs, strict=True)
        )
        self.norms = nnx.List([] if plain else [batch_norm(width, rngs=rngs) for width in widths])

    def __call__(self, z: Latent) -> Pictures:
        """Pictures, within [−1, 1] where they are bounded."""
        h = self.first(z).reshape(len(z), *self.start)
        for i, layer in enumerate(self.layers):
            h = layer(jax.nn.relu(self.norms[i](h) if self.norms else h))
        return jnp.tanh(h) if self.bounded else h


class ConvCritic(nnx.Module):
    """Convolutions of stride 2, then one over all places (eq. 2)."""

    def __init__(self, config: ConvNetworks, shape: Event, *, offset: bool, rngs: nnx.Rngs) -> None:
        times = check_sides("ConvCritic", shape)
        widths = [shape[-1], *(config.width * 2**i for i in range(times))]  # eq. 2
        normed = config.critic_norm == "batch"
        init: dict[str, Any] = {"kernel_init": dcgan_normal(), "bias_init": zeros, "rngs": rngs}
        layers = [
            Conv(widths[i], widths[i + 1], (4, 4), strides=2, use_bias=i == 0 or not normed, **init)
            for i in range(times)
        ]
        last = (shape[0] // 2**times, shape[1] // 2**times)
        layers.append(Conv(widths[-1], 1, last, padding="VALID", use_bias=offset, **init))
        spectral = config.critic_norm == "spectral"
        self.layers = nnx.List(SpectralNorm(layer, rngs=rngs) if spectral else layer for layer in layers)
        self.norms = nnx.List([batch_norm(width, rngs=rngs) for width in widths[2:]] if normed else [])

    def __call__(self, x: Pictures) -> Float[Array, " batch"]:
        """Logits."""
        h = jax.nn.leaky_relu(self.layers[0](x), LEAK)
        for i, layer in enumerate(list(self.layers)[1:-1]):
            h = layer(h)
            h = jax.nn.leaky_relu(self.norms[i](h) if self.norms else h, LEAK)
        return self.layers[-1](h).reshape(len(x))


class MLPGenerator(nnx.Module):
    """A perceptron whose outputs are folded into the shape of the data."""

    def __init__(self, config: MLPNetworks, shape: Event, latent: int, *, bounded: bool, rngs: nnx.Rngs) -> None:
        self.shape, self.bounded = shape, bounded
        widths = (latent, *config.hidden_dims, math.prod(shape))
        self.mlp = MLP(widths, activation=config.activation, rngs=rngs)

    def __call__(self, z: Latent) -> Float[Array, "batch *event"]:
        """Data, within [−1, 1] where they are bounded."""
        x = self.mlp(z).reshape(len(z), *self.shape)
        return jnp.tanh(x) if self.bounded else x


class MLPCritic(nnx.Module):
    """A perceptron on the flattened data."""

    def __init__(self, config: MLPNetworks, inputs: int, *, offset: bool, rngs: nnx.Rngs) -> None:
        self.act = ACTIVATIONS[config.activation]
        widths = (inputs, *config.hidden_dims)
        self.layers = nnx.List(
            nnx.Linear(i, o, kernel_init=gain(config.activation), bias_init=zeros, rngs=rngs)
            for i, o in itertools.pairwise(widths)
        )
        self.last = nnx.Linear(widths[-1], 1, use_bias=offset, kernel_init=lecun_normal(), bias_init=zeros, rngs=rngs)

    def __call__(self, x: Float[Array, "batch *event"]) -> Float[Array, " batch"]:
        """Logits."""
        h = x.reshape(len(x), -1)
        for layer in self.layers:
            h = self.act(layer(h))
        return self.last(h)[:, 0]


def make_generator(config: AnyNetworks, shape: Event, latent: int, *, bounded: bool, rngs: nnx.Rngs) -> Any:
    """The generator of data of a shape from `latent` numbers."""
    if isinstance(config, MLPNetworks):
        return MLPGenerator(config, shape, latent, bounded=bounded, rngs=rngs)
    return ConvGenerator(config, shape, latent, bounded=bounded, rngs=rngs)


def make_critic(config: AnyNetworks, shape: Event, extra: int = 0, *, offset: bool = True, rngs: nnx.Rngs) -> Any:
    """The critic of data of a shape.

    Args:
        extra: numbers joined to each pixel, or to the whole for a perceptron.
        offset: whether the logit has one; losses that look at differences of logits alone do not move it.
    """
    if isinstance(config, MLPNetworks):
        return MLPCritic(config, math.prod(shape) + extra, offset=offset, rngs=rngs)
    return ConvCritic(config, (*shape[:-1], shape[-1] + extra), offset=offset, rngs=rngs)


def is_additive(config: AnyNetworks) -> bool:
    """Whether rows do not look at each other: batch normalisation makes them."""
    return isinstance(config, MLPNetworks) or (config.norm, config.critic_norm) == ("none", "none")
