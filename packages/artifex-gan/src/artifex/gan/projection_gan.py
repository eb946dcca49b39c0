"""Projection GAN: the class enters the critic as an inner product.

    D(x, y) = ψᵀ φ(x) + b + ⟨V_y, φ(x)⟩                                                                         (1)
    lower over D   max(0, 1 − D(x, y)) + max(0, 1 + D(x̃, y)),    lower over G   −D(x̃, y)                        (2)
G and D are residual: G doubles the sides with batch normalisation whose scale and offset depend on y, D halves them
with every kernel divided by its spectral norm, and φ is the sum over places of the last map. The form of (1) follows
from log p(x|y) / q(x|y) + log p(x) / q(x) for classes that are log-linear in φ.

Differs:
    one width for all stages of G, and for those of D.

References:
    [1] Miyato & Koyama, cGANs with Projection Discriminator, 2018, arXiv:1802.05637
    [2] Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018, arXiv:1802.05957
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec
from artifex.core.nn.convolution import Conv
from artifex.core.nn.init import glorot_uniform, zeros
from artifex.core.training.objective import StepContext, TrainingSpec
from artifex.gan.adversarial import Game, GANConfig, adversarial
from artifex.gan.condition import ConditionalBatchNorm, Labels, Projection
from artifex.gan.gan import ClassGAN
from artifex.gan.loss import hinge
from artifex.gan.networks import Latent, Pictures, check_sides
from artifex.gan.spectral import SpectralNorm


@dataclass(frozen=True, kw_only=True)
class ProjectionGANConfig(GANConfig):
    """A projection GAN."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 320,  # five critic updates of 64
        "ema_decay": 0.995,
        "optimizer": {"name": "adam", "learning_rate": 2e-4, "betas": (0.0, 0.9)},
    }

    shape: tuple[int, int, int] = (32, 32, 3)  # of the pictures, channels last
    range: tuple[float, float] = (-1.0, 1.0)  # of the pixels
    n_classes: int = 10  # y holds 0 … n_classes − 1
    z_dim: int = 128
    width: int = 256  # channels of the generator
    critic_width: int = 128  # channels of the critic
    critic_steps: int = 5  # critic updates a step, each on a part of the batch

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sides("ProjectionGANConfig", self.shape)

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape, range and classes of the data; 32 channels."""
        return cls.fitting(spec, n_classes=spec.n_classes or cls.n_classes, width=32, critic_width=32)


class UpBlock(nnx.Module):
    """A residual block that doubles the sides and knows the class."""

    def __init__(self, width: int, n_classes: int, *, rngs: nnx.Rngs) -> None:
        self.norms = nnx.List(ConditionalBatchNorm(n_classes, width, rngs=rngs) for _ in range(2))
        self.layers = nnx.List(conv(width, width, 3, rngs=rngs) for _ in range(2))
        self.skip = conv(width, width, 1, rngs=rngs)

    def __call__(self, h: Pictures, y: Labels) -> Float[Array, "batch rows columns channel"]:
        """h at twice the sides."""
        out = self.layers[0](doubled(jax.nn.relu(self.norms[0](h, y))))
        out = self.layers[1](jax.nn.relu(self.norms[1](out, y)))
        return out + self.skip(doubled(h))


class Generator(nnx.Module):
    """Residual blocks from 4 × 4 up."""

    def __init__(self, config: ProjectionGANConfig, *, rngs: nnx.Rngs) -> None:
        times = check_sides("Generator", config.shape)
        self.start = (*(side // 2**times for side in config.shape[:2]), config.width)
        self.first = linear(config.z_dim, math.prod(self.start), rngs=rngs)
        self.blocks = nnx.List(UpBlock(config.width, config.n_classes, rngs=rngs) for _ in range(times))
        self.norm = nnx.BatchNorm(config.width, momentum=0.9, rngs=rngs)
        self.last = conv(config.width, config.shape[-1], 3, rngs=rngs)

    def __call__(self, z: Latent, y: Labels) -> Pictures:
        """Pictures within [−1, 1]."""
        h = self.first(z).reshape(len(z), *self.start)
        for block in self.blocks:
            h = block(h, y)
        return jnp.tanh(self.last(jax.nn.relu(self.norm(h))))


class DownBlock(nnx.Module):
    """A residual block with spectral norms that halves the sides, or leaves them."""

    def __init__(self, inputs: int, width: int, *, halves: bool, first: bool = False, rngs: nnx.Rngs) -> None:
        self.halves, self.first = halves, first
        ins = (inputs, width)
        self.layers = nnx.List(SpectralNorm(conv(i, width, 3, rngs=rngs), rngs=rngs) for i in ins)
        learned = halves or inputs != width
        self.skip = nnx.data(SpectralNorm(conv(inputs, width, 1, rngs=rngs), rngs=rngs) if learned else None)

    def __call__(self, h: Pictures) -> Float[Array, "batch rows columns other"]:
        """h at half the sides, or the same."""
        out = self.layers[0](h if self.first else jax.nn.relu(h))
        out = self.layers[1](jax.nn.relu(out))
        skip = h if self.skip is None else self.skip(h)
        return halved(out) + halved(skip) if self.halves else out + skip


class Critic(nnx.Module):
    """Residual blocks down to 4 × 4, summed over places, projected on the class."""

    def __init__(self, config: ProjectionGANConfig, *, rngs: nnx.Rngs) -> None:
        times, width = check_sides("Critic", config.shape), config.critic_width
        down = [
            DownBlock(width if i else config.shape[-1], width, halves=True, first=i == 0, rngs=rngs)
            for i in range(times)
        ]
        self.blocks = nnx.List([*down, DownBlock(width, width, halves=False, rngs=rngs)])
        self.last = Projection(config.n_classes, width, glorot_uniform(), rngs=rngs)

    def __call__(self, x: Pictures, y: Labels) -> Float[Array, " batch"]:
        """Logits (eq. 1)."""
        for block in self.blocks:
            x = block(x)
        return self.last(jax.nn.relu(x).sum((1, 2)), y)


class ProjectionGAN(ClassGAN):
    """A projection GAN."""

    def __init__(self, config: ProjectionGANConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.generator = Generator(config, rngs=rngs)
        self.discriminator = Critic(config, rngs=rngs)

    def game(self, ctx: StepContext) -> Game:
        """Eq. 2."""
        return Game(hinge())  # eq. 2

    def training_spec(self) -> TrainingSpec:
        """Critic updates on parts of the batch, then one of the generator."""
        return adversarial(self, critic_steps=self.config.critic_steps, additive=False)


def conv(inputs: int, outputs: int, window: int, *, rngs: nnx.Rngs) -> Conv:
    """A convolution with Glorot's weights."""
    return Conv(inputs, outputs, (window, window), kernel_init=glorot_uniform(), bias_init=zeros, rngs=rngs)


def linear(inputs: int, outputs: int, *, rngs: nnx.Rngs) -> nnx.Linear:
    """A linear layer with Glorot's weights."""
    return nnx.Linear(inputs, outputs, kernel_init=glorot_uniform(), bias_init=zeros, rngs=rngs)


def doubled(x: Pictures) -> Float[Array, "batch rows columns channel"]:
    """Each pixel twice along both sides."""
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


def halved(x: Pictures) -> Float[Array, "batch rows columns channel"]:
    """Means of 2 × 2 pixels."""
    batch, height, width, channel = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channel).mean((2, 4))
