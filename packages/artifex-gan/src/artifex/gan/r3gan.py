"""R3GAN: a relativistic loss, two zero-centred penalties, and plain residual networks. The default of this family.

    lower over D   E s(D(x̃) − D(x)) + γ/2 (E ‖∇D(x)‖² + E ‖∇D(x̃)‖²),    s(t) = log(1 + eᵗ)                      (1)
    lower over G   E s(D(x) − D(x̃))                                                                             (2)
    γ(t) = γ₁ + (γ₀ − γ₁) (1 + cos π t) / 2   at the share t of training                                         (3)
    block   h + W₃ a(W₂ a(W₁ h)):  1 × 1, 3 × 3 in groups, 1 × 1, a = leaky rectifier 0.2                        (4)
W₃ = 0 at the start and the other kernels are He's times L^(−1/4), L the number of blocks, so that no normalisation is
needed; sides double and halve with the filter [1, 2, 1]. Penalties act on every step. With the penalties, (1, 2)
converge locally, and the pairing keeps modes from being dropped.

Differs:
    γ follows (3) over the whole run, not over the first part of it; the second moment's decay is constant.
    Perceptrons, which [1] has none of, end within the range of the data.

References:
    [1] Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN, 2024, arXiv:2501.05441
    [2] Zhang, Dauphin & Ma, Fixup Initialization, 2019, arXiv:1901.09321
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jaxtyping import Array, Float

from artifex.core.config import Config
from artifex.core.data.spec import DataSpec
from artifex.core.nn.init import Initializer, normal, zeros
from artifex.core.prob.noise import row_keys
from artifex.core.training.objective import StepContext, TrainingSpec
from artifex.gan.adversarial import Game, GANConfig, adversarial
from artifex.gan.augment import adapted
from artifex.gan.equalised import convolve
from artifex.gan.gan import GAN
from artifex.gan.loss import relativistic
from artifex.gan.networks import LEAK, Event, Latent, MLPCritic, MLPGenerator, MLPNetworks, Pictures, halvings, suits
from artifex.gan.penalty import check_weight, r1, r2

FEW = 4  # groups of channels that are convolved one by one


@dataclass(frozen=True, kw_only=True)
class ResidualNetworks(Config, tag="residual"):
    """Residual blocks on pictures (eq. 4)."""

    widths: tuple[int, ...] = (256, 256, 256, 256)  # channels of the stages, from the smallest map on
    blocks: int = 2  # in each stage
    expansion: int = 2  # inner channels for each outer one
    group_width: int = 16  # inner channels that a 3 × 3 window mixes


@dataclass(frozen=True, kw_only=True)
class R3GANConfig(GANConfig):
    """An R3GAN."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 64,
        "ema_decay": 0.995,
        "optimizer": {"name": "adam", "learning_rate": 2e-4, "schedule": "cosine", "final": 0.25, "betas": (0.0, 0.99)},
    }

    shape: tuple[int, ...] = (32, 32, 3)  # of the data, channels last
    range: tuple[float, float] | None = (-1.0, 1.0)  # of the data, which bounds perceptrons; None: no bounds
    z_dim: int = 128
    networks: ResidualNetworks | MLPNetworks = field(default_factory=ResidualNetworks)
    gamma: tuple[float, float] = (0.05, 0.005)  # (γ₀, γ₁) of eq. 3; the paper's for CIFAR-10
    augment: float = 0.0  # p at the end, from 0 by eq. 3; 0.55 in the paper, whose runs are too long without

    def __post_init__(self) -> None:
        super().__post_init__()
        for value in self.gamma:
            check_weight("R3GANConfig", "gamma", value)
        if not 0 <= self.augment <= 1 or (self.augment and len(self.shape) != 3):
            raise ValueError(
                f"R3GANConfig: expected 'augment' from 0 to 1, and 0 for data that are no pictures, got {self.augment} "
                f"for shape {self.shape}."
            )
        if isinstance(self.networks, ResidualNetworks):
            check_stages(self.networks, self.shape)

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape and range of the data; one block of about 256/side channels at each side, or perceptrons."""
        if not suits(spec.shape):
            return cls.fitting(spec, networks=MLPNetworks())
        sides = [min(spec.shape[:2]) >> i for i in range(halvings(min(spec.shape[:2])), -1, -1)]
        widths = tuple(max(8, 256 // side // 8 * 8) for side in sides)
        return cls.fitting(spec, networks=ResidualNetworks(widths=widths, blocks=1))


class GroupedConv(nnx.Module):
    """A 3 × 3 convolution within groups of channels: one convolution a group where they are few, else products.

    XLA has grouped convolutions, but on CPU their gradients are slow, and it aborts when it shards them.
    """

    def __init__(self, width: int, groups: int, *, rngs: nnx.Rngs, **init: Initializer) -> None:
        self.groups = groups
        self.dtype = None  # the trainer puts its compute dtype here
        self.kernel = nnx.Param(init["kernel_init"](rngs.params(), (3, 3, width // groups, width)))
        self.bias = nnx.Param(init["bias_init"](rngs.params(), (width,)))

    def __call__(self, x: Pictures) -> Pictures:
        """The convolution of each group, zeros beyond the edges."""
        x, kernel, bias = promote_dtype((x, self.kernel[...], self.bias[...]), dtype=self.dtype)
        mix = one_by_one if self.groups <= FEW else by_products
        return mix(x, kernel, self.groups) + bias


class Block(nnx.Module):
    """A residual block in three layers (eq. 4)."""

    def __init__(self, config: ResidualNetworks, width: int, depth: int, *, rngs: nnx.Rngs) -> None:
        inner = config.expansion * width
        start: dict[str, Any] = {"kernel_init": fixup(depth), "bias_init": zeros, "rngs": rngs}
        groups = inner // config.group_width
        self.layers = nnx.List(
            [
                nnx.Conv(width, inner, (1, 1), **start),
                GroupedConv(inner, groups, **start),
                nnx.Conv(inner, width, (1, 1), use_bias=False, kernel_init=zeros, rngs=rngs),
            ]
        )

    def __call__(self, h: Pictures) -> Pictures:
        """h and what the block adds (eq. 4)."""
        out = jax.nn.leaky_relu(self.layers[0](h), LEAK)
        out = jax.nn.leaky_relu(self.layers[1](out), LEAK)
        return h + self.layers[2](out)  # eq. 4


class Stage(nnx.Module):
    """A change of width, then blocks at one resolution."""

    def __init__(self, config: ResidualNetworks, inputs: int, width: int, *, rngs: nnx.Rngs) -> None:
        depth = config.blocks * len(config.widths)
        self.widen = nnx.data(plain(inputs, width, rngs=rngs) if inputs != width else None)
        self.blocks = nnx.List(Block(config, width, depth, rngs=rngs) for _ in range(config.blocks))

    def __call__(self, h: Pictures) -> Float[Array, "batch height width other"]:
        """The last block's output."""
        h = h if self.widen is None else self.widen(h)
        for block in self.blocks:
            h = block(h)
        return h


class Generator(nnx.Module):
    """A map made of z, then stages that double the sides."""

    def __init__(self, config: ResidualNetworks, shape: Event, latent: int, *, rngs: nnx.Rngs) -> None:
        first, start = config.widths[0], smallest(config, shape)
        self.first = nnx.Linear(latent, first, use_bias=False, kernel_init=fan_in(), rngs=rngs)
        self.basis = nnx.Param(normal(1.0)(rngs.params(), (*start, first)))
        ins = (first, *config.widths[:-1])
        self.stages = nnx.List(Stage(config, i, o, rngs=rngs) for i, o in zip(ins, config.widths, strict=True))
        self.last = plain(config.widths[-1], shape[-1], rngs=rngs)

    def __call__(self, z: Latent) -> Pictures:
        """Pictures."""
        h = self.first(z)[:, None, None]
        h = h * self.basis[...].astype(h.dtype)
        for i, stage in enumerate(self.stages):
            h = stage(h if i == 0 else upsample(h))
        return self.last(h)


class Critic(nnx.Module):
    """Stages that halve the sides, then a weighted sum over places."""

    def __init__(self, config: ResidualNetworks, shape: Event, *, rngs: nnx.Rngs) -> None:
        widths = config.widths[::-1]
        start = smallest(config, shape)
        self.first = plain(shape[-1], widths[0], rngs=rngs)
        ins = (widths[0], *widths[:-1])
        self.stages = nnx.List(Stage(config, i, o, rngs=rngs) for i, o in zip(ins, widths, strict=True))
        self.basis = nnx.Param(normal(1 / math.sqrt(math.prod(start)))(rngs.params(), (*start, widths[-1])))
        self.last = nnx.Linear(widths[-1], 1, use_bias=False, kernel_init=fan_in(), rngs=rngs)

    def __call__(self, x: Pictures) -> Float[Array, " batch"]:
        """Logits."""
        h = self.first(x)
        for i, stage in enumerate(self.stages):
            h = stage(h if i == 0 else downsample(h))
        return self.last((h * self.basis[...].astype(h.dtype)).sum((1, 2)))[:, 0]


class R3GAN(GAN):
    """The modern baseline."""

    def __init__(self, config: R3GANConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        networks, shape = config.networks, config.shape
        if isinstance(networks, MLPNetworks):
            bounded = config.range is not None
            self.generator: Any = MLPGenerator(networks, shape, config.z_dim, bounded=bounded, rngs=rngs)
            self.discriminator: Any = MLPCritic(networks, math.prod(shape), offset=False, rngs=rngs)
        else:
            self.generator = Generator(networks, shape, config.z_dim, rngs=rngs)
            self.discriminator = Critic(networks, shape, rngs=rngs)

    def game(self, ctx: StepContext) -> Game:
        """Pairs, with penalties and augmentation at the strength of the step (eq. 1 to 3)."""
        gamma, p = cosine(self.config.gamma, ctx), cosine((0.0, self.config.augment), ctx)
        game = Game(relativistic(), (r1(gamma), r2(gamma)))
        if self.config.augment == 0:
            return game
        return game._replace(augment=lambda x, rngs: adapted(row_keys(rngs, len(x)), x, p))

    def training_spec(self) -> TrainingSpec:
        """Critic and generator in turn."""
        return adversarial(self)


def cosine(ends: tuple[float, float], ctx: StepContext) -> Float[Array, ""]:
    """A value that goes from one end to the other over the run (eq. 3)."""
    share = jnp.clip(ctx.step / max(ctx.steps, 1), 0, 1)
    return ends[1] + (ends[0] - ends[1]) * (1 + jnp.cos(jnp.pi * share)) / 2  # eq. 3


def fan_in(scale: float = 1.0) -> Initializer:
    """N(0, scale² / fan-in)."""

    def init(key: Any, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return normal(scale / math.sqrt(math.prod(shape[:-1])))(key, shape, dtype)

    return init


def fixup(depth: int) -> Initializer:
    """He's weights for slope 0.2, times L^(−1/4) for L blocks of three layers [2]."""
    return fan_in(math.sqrt(2 / (1 + LEAK**2)) * depth**-0.25)


def plain(inputs: int, outputs: int, *, rngs: nnx.Rngs) -> nnx.Conv:
    """A 1 × 1 convolution without offset."""
    return nnx.Conv(inputs, outputs, (1, 1), use_bias=False, kernel_init=fan_in(), rngs=rngs)


def one_by_one(x: Pictures, kernel: Float[Array, "3 3 each channel"], groups: int) -> Pictures:
    """The convolution of each group, zeros beyond the edges."""
    parts = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
    return jnp.concatenate([convolve(part, weights, 1) for part, weights in parts], -1)


def by_products(x: Pictures, kernel: Float[Array, "3 3 each channel"], groups: int) -> Pictures:
    """The same as one product of matrices for each group."""
    each = x.shape[-1] // groups
    windows = beside(beside(x, 1), 2).reshape(*x.shape[:3], 9, groups, each)
    kernel = kernel.swapaxes(0, 1).reshape(9, each, groups, each)  # columns vary slowest in the windows
    return jnp.einsum("bhwkgi,kigo->bhwgo", windows, kernel).reshape(x.shape)


def beside(x: Float[Array, "batch height width *rest"], axis: int) -> Float[Array, "batch height width three *rest"]:
    """The places before, at and after each place of an axis; beyond the edges lies 0."""
    edged = jnp.pad(x, [(int(i == axis), int(i == axis)) for i in range(x.ndim)])
    shifts = [jax.lax.slice_in_dim(edged, i, i + x.shape[axis], axis=axis) for i in range(3)]
    return jnp.stack(shifts, 3)


def upsample(x: Pictures) -> Float[Array, "batch rows columns channel"]:
    """Twice the sides: zeros between pixels, then the filter [1, 2, 1] along both."""
    for axis in (1, 2):
        before = jnp.roll(x, 1, axis).at[(slice(None),) * axis + (0,)].set(0)  # beyond the edge lies 0
        x = jnp.stack([0.5 * (before + x), x], axis + 1)
        x = x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])
    return x


def downsample(x: Pictures) -> Float[Array, "batch rows columns channel"]:
    """Half the sides: the filter [1, 2, 1] / 4 along both, then each second pixel."""
    for axis in (1, 2):
        pairs = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :])
        even, odd = (jax.lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in (0, 1))
        before = jnp.roll(odd, 1, axis).at[(slice(None),) * axis + (0,)].set(0)
        x = 0.25 * (before + odd) + 0.5 * even
    return x


def smallest(config: ResidualNetworks, shape: Event) -> tuple[int, int]:
    """Sides of the smallest map."""
    factor = 2 ** (len(config.widths) - 1)
    return shape[0] // factor, shape[1] // factor


def check_stages(config: ResidualNetworks, shape: Event) -> None:
    """Refuse pictures whose sides do not halve once between stages, or widths that do not fill groups."""
    factor = 2 ** (len(config.widths) - 1)
    if len(shape) != 3 or any(side % factor for side in shape[:2]):
        near = sorted({max(1, f((shape or (1,))[0] / factor)) * factor for f in (math.floor, math.ceil)})
        raise ValueError(
            f"R3GANConfig: expected 'shape' (height, width, channels) with sides that divide by {factor} for "
            f"{len(config.widths)} stages, got {shape}. The nearest sides are {' and '.join(map(str, near))}."
        )
    odd = [width for width in config.widths if config.expansion * width % config.group_width]
    if odd:
        raise ValueError(
            f"R3GANConfig: expected expansion x width to divide by networks.group_width {config.group_width}, got "
            f"widths {odd}. Change one of them."
        )
