"""Encoders and decoders: perceptrons and convolutions.

    encoder   x [batch, *event] (and a condition c)  ->  numbers [batch, width]
    decoder   z [batch, latent] (and a condition c)  ->  likelihood parameters [batch, *event, n]
Each convolutional layer halves or doubles the sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.config import Config
from artifex.core.nn.convolution import Conv, ConvTranspose
from artifex.core.nn.init import lecun_normal, zeros
from artifex.core.nn.mlp import ACTIVATIONS, MLP, Activation, gain
from artifex.core.prob.gaussian import Gaussian
from artifex.vae.likelihood import Likelihood, SigmaGaussian

Event = tuple[int, ...]
Vector = Float[Array, "batch width"]
Condition = Float[Array, "batch condition"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Config, tag="mlp"):
    """A perceptron on the flattened data."""

    hidden_dims: tuple[int, ...] = (512, 256)
    latent_dim: int | None = None  # may be left out: the model's
    activation: Activation = "relu"


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(Config, tag="mlp"):
    """A perceptron whose outputs are folded into the shape of the data."""

    hidden_dims: tuple[int, ...] = (256, 512)
    output_dim: Event = (28, 28, 1)  # shape of the data, channels last
    activation: Activation = "relu"


@dataclass(frozen=True, kw_only=True)
class ConvEncoderConfig(Config, tag="conv"):
    """Convolutions that halve the sides, then a linear layer."""

    channels: tuple[int, ...] = (32, 64)  # of each layer
    latent_dim: int | None = None  # may be left out: the model's
    activation: Activation = "relu"


@dataclass(frozen=True, kw_only=True)
class ConvDecoderConfig(Config, tag="conv"):
    """A linear layer, then transposed convolutions that double the sides."""

    channels: tuple[int, ...] = (64, 32)  # going into each layer
    output_dim: Event = (28, 28, 1)  # height, width, channels
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sides(self.output_dim, len(self.channels), "ConvDecoderConfig")


AnyEncoder = EncoderConfig | ConvEncoderConfig
AnyDecoder = DecoderConfig | ConvDecoderConfig


def check_sides(event: Event, n_layers: int, where: str) -> None:
    """Refuse pictures whose sides cannot be halved so often."""
    factor = 2**n_layers
    if len(event) != 3 or any(side % factor for side in event[:2]):
        near = [tuple(max(factor, f(side / factor) * factor) for side in event[:2]) for f in (math.floor, math.ceil)]
        raise ValueError(
            f"{where}: expected 'output_dim' (height, width, channels) with sides that divide by {factor} for "
            f"{n_layers} layers, got {event}. The nearest sides are {near[0]} and {near[1]}."
        )


class MLPEncoder(nnx.Module):
    """Flatten, then a perceptron."""

    def __init__(self, config: EncoderConfig, event: Event, sizes: tuple[int, int], *, rngs: nnx.Rngs) -> None:
        width, condition = sizes
        widths = (math.prod(event) + condition, *config.hidden_dims, width)
        self.mlp = MLP(widths, activation=config.activation, rngs=rngs)

    def __call__(self, x: Float[Array, "batch *event"], c: Condition | None = None) -> Vector:
        """Numbers for each row."""
        return self.mlp(joined(x.reshape(len(x), -1), c))


class ConvEncoder(nnx.Module):
    """Convolutions of stride 2, then a linear layer."""

    def __init__(self, config: ConvEncoderConfig, event: Event, sizes: tuple[int, int], *, rngs: nnx.Rngs) -> None:
        check_sides(event, len(config.channels), "ConvEncoder")
        width, condition = sizes
        self.activation: Activation = config.activation
        ins = (event[-1], *config.channels[:-1])
        self.layers = nnx.List(
            Conv(i, o, (4, 4), strides=2, kernel_init=gain(config.activation), bias_init=zeros, rngs=rngs)
            for i, o in zip(ins, config.channels, strict=True)
        )
        flat = math.prod(side // 2 ** len(config.channels) for side in event[:2]) * config.channels[-1]
        self.out = nnx.Linear(flat + condition, width, kernel_init=lecun_normal(), bias_init=zeros, rngs=rngs)

    def __call__(self, x: Float[Array, "batch height width channel"], c: Condition | None = None) -> Vector:
        """Numbers for each row."""
        for layer in self.layers:
            x = ACTIVATIONS[self.activation](layer(x))
        return self.out(joined(x.reshape(len(x), -1), c))


class MLPDecoder(nnx.Module):
    """A perceptron, then fold."""

    def __init__(self, config: DecoderConfig, sizes: tuple[int, int], n: int, *, rngs: nnx.Rngs) -> None:
        self.shape = (*config.output_dim, n)
        widths = (sum(sizes), *config.hidden_dims, math.prod(self.shape))
        self.mlp = MLP(widths, activation=config.activation, rngs=rngs)

    def __call__(self, z: Vector, c: Condition | None = None) -> Float[Array, "batch *event n"]:
        """Likelihood parameters."""
        return self.mlp(joined(z, c)).reshape(len(z), *self.shape)


class ConvDecoder(nnx.Module):
    """A linear layer, then transposed convolutions of stride 2."""

    def __init__(self, config: ConvDecoderConfig, sizes: tuple[int, int], n: int, *, rngs: nnx.Rngs) -> None:
        height, width, depth = config.output_dim
        self.activation: Activation = config.activation
        self.shape = (*config.output_dim, n)
        factor = 2 ** len(config.channels)
        self.start = (height // factor, width // factor, config.channels[0])
        self.first = nnx.Linear(
            sum(sizes), math.prod(self.start), kernel_init=gain(config.activation), bias_init=zeros, rngs=rngs
        )
        outs = (*config.channels[1:], depth * n)
        self.layers = nnx.List(
            ConvTranspose(i, o, (4, 4), strides=2, kernel_init=lecun_normal(), bias_init=zeros, rngs=rngs)
            for i, o in zip(config.channels, outs, strict=True)
        )

    def __call__(self, z: Vector, c: Condition | None = None) -> Float[Array, "batch *event n"]:
        """Likelihood parameters."""
        x = self.first(joined(z, c)).reshape(len(z), *self.start)
        for layer in self.layers:
            x = layer(ACTIVATIONS[self.activation](x))
        return x.reshape(len(z), *self.shape)


class SharedDeviation(nnx.Module):
    """A decoder of means with one learned log σ beside each."""

    def __init__(self, decoder: MLPDecoder | ConvDecoder) -> None:
        self.decoder = decoder
        self.log_sigma = nnx.Param(jnp.zeros(()))

    def __call__(self, z: Vector, c: Condition | None = None) -> Float[Array, "batch *event 2"]:
        """Mean and log σ."""
        mean = self.decoder(z, c)
        return jnp.concatenate([mean, jnp.broadcast_to(self.log_sigma[...].astype(mean.dtype), mean.shape)], -1)


def make_encoder(config: AnyEncoder, event: Event, sizes: tuple[int, int], *, rngs: nnx.Rngs) -> Any:
    """The encoder of data of shape `event`; `sizes` are its outputs and the width of its condition."""
    if isinstance(config, EncoderConfig):
        return MLPEncoder(config, event, sizes, rngs=rngs)
    return ConvEncoder(config, event, sizes, rngs=rngs)


def make_decoder(config: AnyDecoder, sizes: tuple[int, int], likelihood: Likelihood, *, rngs: nnx.Rngs) -> Any:
    """The decoder whose outputs a likelihood reads; `sizes` are the widths of code and condition."""
    n = 1 if isinstance(likelihood, SigmaGaussian) else likelihood.width
    if isinstance(config, DecoderConfig):
        decoder: Any = MLPDecoder(config, sizes, n, rngs=rngs)
    else:
        decoder = ConvDecoder(config, sizes, n, rngs=rngs)
    return SharedDeviation(decoder) if isinstance(likelihood, SigmaGaussian) else decoder


def joined(x: Vector, c: Condition | None) -> Float[Array, "batch joined"]:
    """A vector with its condition."""
    return x if c is None else jnp.concatenate([x, c.astype(x.dtype)], -1)


class Coder(nnx.Module):
    """An encoder to q(z|x) and a decoder to p(x|z), which most variants share unchanged."""

    def __init__(
        self,
        parts: tuple[AnyEncoder, AnyDecoder, Likelihood],
        latent_dim: int,
        condition_dim: int = 0,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        encoder, decoder, self.likelihood = parts
        self.encoder = make_encoder(encoder, decoder.output_dim, (2 * latent_dim, condition_dim), rngs=rngs)
        self.decoder = make_decoder(decoder, (latent_dim, condition_dim), self.likelihood, rngs=rngs)

    def posterior(self, x: Float[Array, "batch *event"], c: Condition | None = None) -> Gaussian:
        """q(z|x)."""
        return Gaussian(*jnp.split(self.encoder(x, c), 2, axis=-1))

    def log_prob(
        self, x: Float[Array, "batch *event"], z: Vector, c: Condition | None = None
    ) -> Float[Array, " batch"]:
        """log p(x|z) in nats."""
        return self.likelihood.log_prob(self.decoder(z, c), x)

    def mean(self, z: Vector, c: Condition | None = None) -> Float[Array, "batch *event"]:
        """The mean of p(x|z)."""
        return self.likelihood.mean(self.decoder(z, c))

    def draw(
        self, z: Vector, rngs: nnx.Rngs, c: Condition | None = None, *, mean: bool = False
    ) -> Float[Array, "batch *event"]:
        """A draw from p(x|z), or its mean."""
        params = self.decoder(z, c)
        return self.likelihood.mean(params) if mean else self.likelihood.sample(params, rngs)
