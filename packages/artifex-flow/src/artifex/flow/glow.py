"""Glow.

    x                    picture in L levels; dequantised and moved to [−½, ½)       [batch, height, width, channel]
    scale                squeeze, K steps, and half of the channels leaves; at the last scale nothing does
    step                 ActNorm, then a 1 × 1 convolution, then a coupling
    ActNorm              z = s (x + b), so that each channel of the first batch has mean 0 and variance 1           (1)
    1 × 1 convolution    z = W x at each pixel, W a random rotation at the start, log |det| = h w Σ log |s|         (2)
    coupling             z_a = s(x_b) x_a + t(x_b),  z_b = x_b,  s = σ(r + 2),  log |det| = Σ log s                 (3)
    log p(x) = log N(z; 0, I) + Σ log |det|,    z all that left at some scale                                      (4)
The network of (3) is 3 × 3, 1 × 1 and 3 × 3 convolutions whose last layer starts at 0. What leaves is noise under a
prior learned from what stays (`image.Split`), so that a temperature below 1 narrows all of them; the paper's pictures
are `sample(temperature=0.7)`.

Differs: no ActNorm inside the coupling networks, which the authors' code has and the paper does not; a context enters
each coupling network, and not the priors.

References:
    [1] Kingma & Dhariwal, Glow: Generative Flow with Invertible 1×1 Convolutions, 2018, arXiv:1807.03039
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx

from artifex.core.data.spec import DataSpec, halvings
from artifex.core.prob.gaussian import over_event
from artifex.flow.base import StandardNormal
from artifex.flow.bijector import Chain, Context, Event, Fast, Mapped
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.image import (
    Conv1x1,
    ConvNet,
    Flatten,
    Picture,
    Split,
    Squeeze,
    ZeroConv,
    check_counts,
    check_sides,
)
from artifex.flow.levels import Dequantise, from_levels
from artifex.flow.linear import ActNorm


@dataclass(frozen=True, kw_only=True)
class GlowConfig(FlowConfig):
    """Glow; the defaults are those of the paper for CIFAR-10."""

    event_shape: tuple[int, int, int] = (32, 32, 3)  # height, width, channels
    levels: int = 256  # values of a pixel, from 0 to 1
    n_scales: int = 3  # L of the paper
    n_steps: int = 32  # K, at each scale
    hidden_channels: int = 512  # of the coupling networks

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = {"n_scales": self.n_scales, "n_steps": self.n_steps, "hidden_channels": self.hidden_channels}
        check_counts("GlowConfig", **sizes)
        check_sides("GlowConfig", self.event_shape, self.n_scales)
        Dequantise(self.levels)  # refuses fewer than two

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Pictures and levels of the data; 8 steps of 64 channels at each of at most two scales."""
        fits: dict[str, Any] = {"event_shape": spec.shape, "levels": spec.levels or cls.levels}
        return cls(**fits, n_scales=max(1, min(2, halvings(spec.shape))), n_steps=8, hidden_channels=64)


class Glow(Flow):
    """Glow: a flow of pictures in levels."""

    def __init__(self, config: GlowConfig, *, rngs: nnx.Rngs) -> None:
        event = config.event_shape
        bijector = Chain(from_levels(event, config.levels, low=-0.5), scales(event, config.n_scales, config, rngs))
        base = StandardNormal((math.prod(event),), config.dtype)
        super().__init__(config, base, bijector, dequantise=Dequantise(config.levels), rngs=rngs)


class AffineCoupling(nnx.Module):
    """Half of the channels is scaled and shifted by what a network makes of the other half (eq. 3)."""

    fast: Fast = "both"

    def __init__(self, event_shape: Event, hidden: int, context_dim: int = 0, *, rngs: nnx.Rngs) -> None:
        channels = event_shape[-1]
        self.event_shape = event_shape
        self.net = ConvNet((channels // 2, hidden, channels), context_dim, rngs=rngs)

    def forward(self, x: Picture, context: Context | None = None) -> Mapped:
        """Data to base (eq. 3)."""
        a, b = jnp.split(x, 2, axis=-1)
        log_s, t = self.moves(b, context)
        return Mapped(jnp.concatenate([jnp.exp(log_s) * a + t, b], -1), over_event(log_s))  # eq. 3

    def inverse(self, z: Picture, context: Context | None = None) -> Mapped:
        """Base to data."""
        a, b = jnp.split(z, 2, axis=-1)
        log_s, t = self.moves(b, context)
        return Mapped(jnp.concatenate([(a - t) * jnp.exp(-log_s), b], -1), -over_event(log_s))

    def moves(self, b: Picture, context: Context | None) -> tuple[Picture, Picture]:
        """log s and t."""
        r, t = jnp.split(self.net(b, context).astype(b.dtype), 2, axis=-1)
        return jax.nn.log_sigmoid(r + 2), t


def scales(event: Event, n_scales: int, config: GlowConfig, rngs: nnx.Rngs) -> Chain:
    """Pictures to vectors: one scale, and the rest on the half of the channels that stays."""
    squeeze = Squeeze(event)
    height, width, channels = shape = squeeze.mapped_shape
    # One after another, no loop: on a CPU the gradient of a convolution in a loop is 20 to 90 times slower.
    steps = [step(shape, config, rngs) for _ in range(config.n_steps)]
    if n_scales == 1:
        return Chain(squeeze, *steps, Flatten(shape))
    rest = scales((height, width, channels // 2), n_scales - 1, config, rngs)
    return Chain(squeeze, *steps, Split(shape, rest, ZeroConv(channels // 2, channels, rngs=rngs)))


def step(event: Event, config: GlowConfig, rngs: nnx.Rngs) -> Chain:
    """ActNorm, 1 × 1 convolution, coupling."""
    coupling = AffineCoupling(event, config.hidden_channels, config.context_dim, rngs=rngs)
    return Chain(ActNorm(event, rngs=rngs), Conv1x1(event, rngs=rngs), coupling)  # eq. 1, 2, 3
