"""Real NVP of pictures.

    x                    picture in L levels, dequantised, then logit(α + (1 − 2α) x)  [batch, height, width, channel]
    coupling             z = b x + (1 − b) (x e^{s(bx)} + t(bx)),    log |det| = Σ (1 − b) s                        (1)
    s = a tanh(r)        bounded, with one learned factor a for each channel                                       (2)
    scale                3 couplings by checkerboards b, squeeze, 3 couplings by channels, half of them leaves      (3)
    last scale           4 couplings by checkerboards                                                              (4)
    log p(x) = log N(z; 0, I) + Σ log |det|,    z all that left at some scale                                      (5)
Neighbouring couplings have opposite masks, so that all entries are moved.

Differs: ActNorm before each coupling for the paper's batch norm, which makes log p of a picture depend on those beside
it; layers without weight norm; the logit is that of the authors' code, which treats black and white alike, where the
paper has α + (1 − α) x. `realnvp` is the same idea on vectors.

References:
    [1] Dinh, Sohl-Dickstein & Bengio, Density estimation using Real NVP, 2016, arXiv:1605.08803
    [2] He et al., Identity Mappings in Deep Residual Networks, 2016, arXiv:1603.05027
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec, halvings
from artifex.core.nn.init import he_normal, zeros
from artifex.core.prob.gaussian import over_event
from artifex.flow.base import StandardNormal
from artifex.flow.bijector import Bijector, Chain, Context, Event, Fast, Mapped
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.image import (
    ContextBias,
    Flatten,
    Picture,
    Split,
    Squeeze,
    check_counts,
    check_sides,
    checkerboard,
    half_of_channels,
)
from artifex.flow.levels import Dequantise, Logit, from_levels
from artifex.flow.linear import ActNorm

Mask = Float[np.ndarray, "height width channel"]
MASKS = {"checkerboard": checkerboard, "channel": half_of_channels}


@dataclass(frozen=True, kw_only=True)
class RealNVPImageConfig(FlowConfig):
    """Real NVP of pictures; the defaults are those of the paper for CIFAR-10."""

    event_shape: tuple[int, int, int] = (32, 32, 3)  # height, width, channels
    levels: int = 256  # values of a pixel, from 0 to 1
    n_scales: int = 2
    n_couplings: int = 3  # of each kind at a scale; one more at the last
    hidden_channels: int = 64
    n_blocks: int = 8  # residual blocks of each coupling network
    alpha: float = 0.05  # the distance of black and white from infinity

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("n_scales", "n_couplings", "n_blocks", "hidden_channels")
        check_counts("RealNVPImageConfig", **{name: getattr(self, name) for name in names})
        check_sides("RealNVPImageConfig", self.event_shape, self.n_scales - 1)
        Dequantise(self.levels)  # refuses fewer than two
        Logit(self.event_shape, self.alpha)  # refuses the ends

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Pictures and levels of the data; two residual blocks of 32 channels a coupling."""
        fits: dict[str, Any] = {"event_shape": spec.shape, "levels": spec.levels or cls.levels}
        return cls(**fits, n_scales=1 + min(1, halvings(spec.shape)), hidden_channels=32, n_blocks=2)


class RealNVPImage(Flow):
    """Real NVP: a flow of pictures in levels."""

    def __init__(self, config: RealNVPImageConfig, *, rngs: nnx.Rngs) -> None:
        event = config.event_shape
        bijector = Chain(
            from_levels(event, config.levels),
            Logit(event, config.alpha),
            scales(event, config.n_scales, config, rngs),
        )
        base = StandardNormal((math.prod(event),), config.dtype)
        super().__init__(config, base, bijector, dequantise=Dequantise(config.levels), rngs=rngs)


class MaskedCoupling(nnx.Module):
    """Entries under the mask say how the others are scaled and shifted (eq. 1).

    Args:
        kind: which mask; `swapped` takes its opposite.
    """

    fast: Fast = "both"

    def __init__(
        self,
        event_shape: Event,
        mask: tuple[Literal["checkerboard", "channel"], bool],
        config: RealNVPImageConfig,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        channels = event_shape[-1]
        self.event_shape = event_shape
        self.kind, self.swapped = mask
        self.net = ResidualNet((channels, config.hidden_channels, 2 * channels), config, rngs=rngs)
        self.factor = nnx.Param(jnp.ones(channels))  # a

    def forward(self, x: Picture, context: Context | None = None) -> Mapped:
        """Data to base (eq. 1)."""
        s, t = self.moves(x, context)
        return Mapped(x * jnp.exp(s) + t, over_event(s))  # eq. 1

    def inverse(self, z: Picture, context: Context | None = None) -> Mapped:
        """Base to data."""
        s, t = self.moves(z, context)
        return Mapped((z - t) * jnp.exp(-s), -over_event(s))

    def moves(self, x: Picture, context: Context | None) -> tuple[Picture, Picture]:
        """s and t, which are 0 under the mask (eq. 2)."""
        b = jnp.asarray(self.mask(), x.dtype)
        r, t = jnp.split(self.net(b * x, context).astype(x.dtype), 2, axis=-1)
        return (1 - b) * self.factor[...] * jnp.tanh(r), (1 - b) * t  # eq. 2

    def mask(self) -> Mask:
        """b."""
        b = MASKS[self.kind](self.event_shape)
        return 1 - b if self.swapped else b


class ResidualNet(nnx.Module):
    """A convolution, residual blocks [2], and a convolution that gives 0 at the start."""

    def __init__(self, sizes: tuple[int, int, int], config: RealNVPImageConfig, *, rngs: nnx.Rngs) -> None:
        inputs, hidden, outputs = sizes

        def conv(inputs: int, size: int) -> nnx.Conv:
            options = {"kernel_init": he_normal(), "bias_init": zeros, "rngs": rngs}
            return nnx.Conv(inputs, hidden, (size, size), **options)

        self.first = conv(inputs, 3)
        self.blocks = nnx.List(nnx.List([conv(hidden, 3), conv(hidden, 3)]) for _ in range(config.n_blocks))
        self.last = nnx.Conv(hidden, outputs, (1, 1), kernel_init=zeros, bias_init=zeros, rngs=rngs)
        self.context = ContextBias(config.context_dim, hidden, rngs=rngs) if config.context_dim else None

    def __call__(self, x: Picture, context: Context | None = None) -> Float[Array, "batch height width out"]:
        """Outputs at each pixel."""
        h = self.first(x)
        if self.context is not None and context is not None:
            h = h + self.context(context)
        for inner, outer in self.blocks:
            h = h + outer(jax.nn.relu(inner(jax.nn.relu(h))))
        return self.last(jax.nn.relu(h))


def scales(event: Event, n_scales: int, config: RealNVPImageConfig, rngs: nnx.Rngs) -> Chain:
    """Pictures to vectors: one scale, and the rest on the half of the channels that stays (eq. 3, 4)."""
    if n_scales == 1:
        return Chain(*couplings(event, "checkerboard", config.n_couplings + 1, config, rngs), Flatten(event))
    squeeze = Squeeze(event)
    height, width, channels = shape = squeeze.mapped_shape
    before = couplings(event, "checkerboard", config.n_couplings, config, rngs)
    after = couplings(shape, "channel", config.n_couplings, config, rngs)
    rest = scales((height, width, channels // 2), n_scales - 1, config, rngs)
    return Chain(*before, squeeze, *after, Split(shape, rest))


def couplings(
    event: Event, kind: Literal["checkerboard", "channel"], n: int, config: RealNVPImageConfig, rngs: nnx.Rngs
) -> list[Bijector]:
    """n couplings, each behind an ActNorm, with masks by turns."""
    layers: list[Bijector] = []
    for i in range(n):
        coupling = MaskedCoupling(event, (kind, i % 2 == 1), config, rngs=rngs)
        layers += [ActNorm(event, rngs=rngs), coupling]
    return layers
