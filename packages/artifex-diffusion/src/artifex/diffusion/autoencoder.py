"""The convolutional encoder and decoder of latent diffusion.

    encoder   x [height, width, 3]      →  μ, log σ² [height/f, width/f, latent],   f = 2^(levels − 1)            (1)
    decoder   z [height/f, width/f, latent]  →  x̂ [height, width, 3]                                             (2)
Each level is residual blocks and a halving or doubling; attention stands at the smallest size only.

References:
    [1] Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022, arXiv:2112.10752
    [2] Esser, Rombach & Ommer, Taming Transformers for High-Resolution Image Synthesis, 2021, arXiv:2012.09841
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.config import Config
from artifex.core.prob.gaussian import Gaussian
from artifex.diffusion.blocks import (
    Downsample,
    Features,
    GroupNorm,
    Image,
    PlaceAttention,
    ResBlock,
    Style,
    Upsample,
    conv,
)
from artifex.diffusion.unet import Given, Level, check_groups, check_sides, pairs_down

Latent = Float[Array, "batch rows columns latent"]
LOG_VAR = (-30.0, 20.0)  # the range that [1] keeps log σ² in
SEES = Given(None, None, None)  # no time, no condition


@dataclass(frozen=True, kw_only=True)
class CoderConfig(Config, tag="coder"):
    """Encoder and decoder; as it stands, those of Stable Diffusion."""

    shape: tuple[int, int, int] = (256, 256, 3)  # of a picture: height, width, channels
    widths: tuple[int, ...] = (128, 256, 512, 512)  # of each level
    n_blocks: int = 2  # residual blocks of a level; the decoder has one more
    latent: int = 4  # channels of a code
    groups: int = 32  # of the normalisation

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sides("CoderConfig", self.shape, self.factor)
        check_groups("CoderConfig", self.widths, self.groups)

    @property
    def factor(self) -> int:
        """Picture side over latent side."""
        return 2 ** (len(self.widths) - 1)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape of a code."""
        return (self.shape[0] // self.factor, self.shape[1] // self.factor, self.latent)

    @property
    def style(self) -> Style:
        """What all blocks have in common."""
        return Style(self.groups, 1e-6)


def middle(width: int, style: Style, *, rngs: nnx.Rngs) -> Level:
    """Block, attention, block."""
    blocks = [ResBlock((width, width), style, rngs=rngs) for _ in range(2)]
    return Level(blocks, [PlaceAttention(width, style, rngs=rngs)], None)


def through(level: Level, h: Image) -> Float[Array, "batch rows columns out"]:
    """h after all blocks of a level; the middle has attention after its first."""
    for i, block in enumerate(level.blocks):
        h = level.block(i, h, SEES) if i < len(level.attentions) else block(h)
    return h if level.resize is None else level.resize(h)


class Encoder(nnx.Module):
    """Picture to μ and log σ² (eq. 1)."""

    def __init__(self, config: CoderConfig, *, rngs: nnx.Rngs) -> None:
        style, widths, last = config.style, config.widths, len(config.widths) - 1
        self.inp = conv((config.shape[-1], widths[0]), rngs=rngs)
        self.down = nnx.List(
            Level(
                [ResBlock(pair, style, rngs=rngs) for pair in pairs],
                [],
                None if i == last else Downsample(widths[i], 0, rngs=rngs),
            )
            for i, pairs in enumerate(pairs_down(widths, config.n_blocks))
        )
        self.mid = middle(widths[-1], style, rngs=rngs)
        self.norm = GroupNorm(widths[-1], style)
        self.out = conv((widths[-1], 2 * config.latent), rngs=rngs)
        self.quant = conv((2 * config.latent, 2 * config.latent), size=1, rngs=rngs)

    def __call__(self, x: Image) -> Float[Array, "batch rows columns moments"]:
        """μ and log σ² beside each other (eq. 1)."""
        h = self.inp(x)
        for level in (*self.down, self.mid):
            h = through(level, h)
        return self.quant(self.out(jax.nn.silu(self.norm(h))))


class Decoder(nnx.Module):
    """Code to picture (eq. 2)."""

    def __init__(self, config: CoderConfig, *, rngs: nnx.Rngs) -> None:
        style, widths = config.style, config.widths[::-1]
        self.quant = conv((config.latent, config.latent), size=1, rngs=rngs)
        self.inp = conv((config.latent, widths[0]), rngs=rngs)
        self.mid = middle(widths[0], style, rngs=rngs)
        self.up = nnx.List(
            Level(
                [ResBlock(pair, style, rngs=rngs) for pair in pairs],
                [],
                None if i == len(widths) - 1 else Upsample(widths[i], rngs=rngs),
            )
            for i, pairs in enumerate(pairs_down(widths, config.n_blocks + 1))
        )
        self.norm = GroupNorm(widths[-1], style)
        self.out = conv((widths[-1], config.shape[-1]), rngs=rngs)

    def features(self, z: Latent) -> Features:
        """What the last layer sees."""
        h = self.inp(self.quant(z))
        for level in (self.mid, *self.up):
            h = through(level, h)
        return jax.nn.silu(self.norm(h))

    def __call__(self, z: Latent) -> Features:
        """x̂ (eq. 2)."""
        return self.out(self.features(z))


class Coder(nnx.Module):
    """Encoder and decoder together: what published weights hold."""

    def __init__(self, config: CoderConfig, *, rngs: nnx.Rngs) -> None:
        self.encoder = Encoder(config, rngs=rngs)
        self.decoder = Decoder(config, rngs=rngs)

    def posterior(self, x: Image) -> Gaussian:
        """q(z|x), with log σ² kept in range (eq. 1)."""
        mean, log_var = jnp.split(self.encoder(x), 2, axis=-1)
        return Gaussian(mean, 0.5 * jnp.clip(log_var, *LOG_VAR))

    def decode(self, z: Latent) -> Features:
        """x̂ (eq. 2)."""
        return self.decoder(z)
