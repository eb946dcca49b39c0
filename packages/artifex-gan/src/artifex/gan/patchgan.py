"""PatchGAN with critics at several scales, and the translator that they judge (pix2pixHD).

    D_k     a critic of patches on the pictures at 1/2^k of their sides, k = 0 … K − 1
            C_w – C_2w – C_4w – C_8w – 1, kernel 4, strides 2 2 2 1 1: each logit sees 70 × 70 pixels             (1)
    lower over D   Σ_k ½ E (D_k(x, y) − 1)² + ½ E D_k(x̃, y)²                                                    (2)
    lower over G   Σ_k E (D_k(x̃, y) − 1)² + λ Σ_k Σ_i 4 / ((L + 1) K) ‖h_ik(x, y) − h_ik(x̃, y)‖₁                (3)
with h_ik the features of layer i, L the layers that halve the sides. The second term of (3) matches features, λ = 10;
real features are not moved by it.

Differs:
    no perceptual term, whose features need the weights of another network; no instance maps; the coarse generator only.

References:
    [1] Wang et al., High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs, 2018,
        arXiv:1711.11585
    [2] Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017, arXiv:1611.07004
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec, halvings
from artifex.core.model import GenerativeModel
from artifex.core.protocols import Batch, Losses
from artifex.core.training.objective import StepContext, TrainingSpec
from artifex.gan.adversarial import (
    GANConfig,
    GANLosses,
    adversarial,
    by_row,
    check_data,
    conditions_of,
    from_unit,
    summed,
    to_unit,
)
from artifex.gan.networks import LEAK, Pictures
from artifex.gan.penalty import PerRow, check_weight
from artifex.gan.translators import (
    ResnetTranslator,
    check_sides,
    check_sources,
    conv,
    instance_norm,
    l1,
    one_source_each,
    patch_layers,
    source_channels,
)

Features = list[Float[Array, "batch ..."]]  # of the layers of a critic; the last holds the logits
MAX_WIDTH = 8  # channels of a critic, in widths


@dataclass(frozen=True, kw_only=True)
class PatchGANConfig(GANConfig):
    """A translator under patch critics at several scales."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 1,
        "optimizer": {"name": "adam", "learning_rate": 2e-4, "schedule": "linear", "hold": 0.5, "betas": (0.5, 0.999)},
    }

    shape: tuple[int, int, int] = (128, 128, 3)  # of the targets
    source_channels: int = 3
    range: tuple[float, float] = (-1.0, 1.0)  # of the pixels of both
    width: int = 64  # channels next to the picture, of both sides
    halvings: int = 4  # of the generator
    blocks: int = 9  # residual blocks of the generator
    scales: int = 2  # K of eq. 1; the paper also uses 3
    patch_layers: int = 3  # L of eq. 3: 3 sees patches of 70 × 70
    feature_weight: float = 10.0  # λ of eq. 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sides("PatchGANConfig", self.shape, 2 ** max(self.halvings, self.scales - 1))
        check_weight("PatchGANConfig", "feature_weight", self.feature_weight)
        smallest = min(self.shape[:2]) // 2 ** (self.scales - 1 + self.patch_layers)
        if smallest < 3:
            raise ValueError(
                f"PatchGANConfig: expected sides that leave the coarsest critic 3 or more places, got {self.shape} for "
                f"{self.scales} scales and {self.patch_layers} layers, which leave {smallest}. Lower one of them."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shapes and range of the data; 16 channels and two residual blocks."""
        return cls.fitting(
            spec,
            source_channels=source_channels(spec),
            width=16,
            halvings=max(1, min(2, halvings(spec.shape))),
            blocks=2,
            patch_layers=max(0, patch_layers(spec.shape) - 1),
        )


class PatchGANOutputs(TypedDict):
    """The forward pass."""

    fake: Pictures
    real_features: list[Features]  # of each scale
    fake_features: list[Features]


class PatchCritic(nnx.Module):
    """Convolutions whose logits each see a patch (eq. 1)."""

    def __init__(self, channels: int, width: int, layers: int = 3, *, rngs: nnx.Rngs) -> None:
        widths = [channels, *(width * min(2**i, MAX_WIDTH) for i in range(layers + 1)), 1]
        strides = [2] * layers + [1, 1]  # eq. 1
        edge = ((1, 1), (1, 1))
        self.layers = nnx.List(
            conv(widths[i], widths[i + 1], 4, strides=s, padding=edge, use_bias=i in (0, layers + 1), rngs=rngs)
            for i, s in enumerate(strides)
        )

    def features(self, x: Pictures) -> Features:
        """The maps of each layer; the last holds the logits."""
        h, maps = x, []
        for i, layer in enumerate(self.layers):
            h = layer(h)
            if i < len(self.layers) - 1:
                h = jax.nn.leaky_relu(h if i == 0 else instance_norm(h), LEAK)
            maps.append(h)
        return maps

    def __call__(self, x: Pictures) -> Float[Array, "batch rows columns"]:
        """A logit for each patch."""
        return self.features(x)[-1][..., 0]


class MultiScaleCritic(nnx.Module):
    """A patch critic at each scale of source and target together."""

    def __init__(self, config: PatchGANConfig, *, rngs: nnx.Rngs) -> None:
        self.range = config.range
        channels = config.shape[-1] + config.source_channels
        self.critics = nnx.List(
            PatchCritic(channels, config.width, config.patch_layers, rngs=rngs) for _ in range(config.scales)
        )

    def __call__(self, x: Pictures, y: Pictures) -> list[Features]:
        """The features of each scale."""
        pair = jnp.concatenate([x, to_unit(y, self.range).astype(x.dtype)], -1)
        found = []
        for i, critic in enumerate(self.critics):
            pair = pair if i == 0 else shrink(pair)
            found.append(critic.features(pair))
        return found


class PatchGAN(GenerativeModel):
    """A translator learned from pairs, judged at several scales."""

    conditions: ClassVar[tuple[str, ...]] = ("y",)

    def __init__(self, config: PatchGANConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        channels, sizes = (config.source_channels, config.shape[-1]), (config.halvings, config.blocks)
        self.generator = ResnetTranslator(channels, config.width, sizes, rngs=rngs)
        self.discriminator = MultiScaleCritic(config, rngs=rngs)

    def __call__(self, x: Pictures, *, y: Pictures, rngs: nnx.Rngs | None = None) -> PatchGANOutputs:
        """Translations of y, and the features of both kinds of pairs; nothing is random."""
        real, fake = to_unit(x, self.config.range), self.generator(to_unit(y, self.config.range))
        found = [self.discriminator(rows, y) for rows in (real, fake)]
        return PatchGANOutputs(fake=fake, real_features=found[0], fake_features=found[1])

    def loss_fn(self, batch: Batch, outputs: PatchGANOutputs, *, ctx: StepContext | None = None) -> GANLosses:
        """Both sides' losses (eq. 2, 3)."""
        real, fake = outputs["real_features"], outputs["fake_features"]
        critic = summed(judged(real, fake), {}, batch)["loss"]
        return GANLosses(**{**generator_terms(self, (real, fake), batch), "critic": critic})

    def generate(self, n_samples: int = 1, *, y: Pictures | None = None, rngs: nnx.Rngs | None = None) -> Pictures:
        """Translations of the source pictures y, one for all samples or one each; `rngs` is not used."""
        shape = (*self.config.shape[:2], self.config.source_channels)
        y = one_source_each("PatchGAN.generate", y, n_samples, shape)
        return from_unit(self.generator(to_unit(y, self.config.range)), self.config.range)

    def translate(self, x: Pictures, *, rngs: nnx.Rngs | None = None) -> Pictures:
        """The target pictures of source pictures x."""
        return self.generate(len(x), y=x, rngs=rngs)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape or range, or without source pictures."""
        check_data(self.config, spec)
        check_sources("PatchGAN", (*self.config.shape[:2], self.config.source_channels), spec)

    def training_spec(self) -> TrainingSpec:
        """Critic and generator in turn."""
        return adversarial(self, losses=(critic_loss, generator_loss))


def critic_loss(model: PatchGAN, batch: Batch, ctx: StepContext) -> Losses:
    """The critics' loss, fakes stopped (eq. 2)."""
    y, limits = conditions_of(model, batch)["y"], model.config.range
    fake = jax.lax.stop_gradient(model.generator(to_unit(y, limits)))
    real, fake = model.discriminator(to_unit(batch["x"], limits), y), model.discriminator(fake, y)
    return summed(judged(real, fake), {}, batch)


def generator_loss(model: PatchGAN, batch: Batch, ctx: StepContext) -> Losses:
    """The generator's loss (eq. 3)."""
    y = conditions_of(model, batch)["y"]
    outputs = model(batch["x"], y=y)
    return generator_terms(model, (outputs["real_features"], outputs["fake_features"]), batch)


def generator_terms(model: PatchGAN, features: tuple[list[Features], list[Features]], batch: Batch) -> dict[str, Array]:
    """Both terms of eq. 3 and their sum."""
    config = model.config
    weight = config.feature_weight * 4 / ((config.patch_layers + 1) * config.scales)
    values = over_scales(lambda scale: by_row((scale[-1] - 1) ** 2), features[1])  # eq. 3
    return summed(values, {"features": weight * mismatch(*features)}, batch)


def judged(real: list[Features], fake: list[Features]) -> PerRow:
    """What the critics lower (eq. 2)."""
    losses = [0.5 * by_row((r[-1] - 1) ** 2) + 0.5 * by_row(f[-1] ** 2) for r, f in zip(real, fake, strict=True)]
    return over_scales(lambda loss: loss, losses)


def over_scales(value: Callable[[Any], PerRow], scales: list[Any]) -> PerRow:
    """The sum of a value over the scales."""
    return jnp.stack([value(scale) for scale in scales]).sum(0)


def mismatch(real: list[Features], fake: list[Features]) -> PerRow:
    """Σ_k Σ_i ‖h_ik(x) − h_ik(x̃)‖₁, a mean over each map, without the logits (eq. 3)."""
    pairs = [pair for r, f in zip(real, fake, strict=True) for pair in zip(r[:-1], f[:-1], strict=True)]
    return jnp.stack([l1(jax.lax.stop_gradient(r), f) for r, f in pairs]).sum(0)


def shrink(x: Pictures) -> Float[Array, "batch rows columns channel"]:
    """Means of 3 × 3 pixels at every second one; places beyond the edge do not count."""
    window: dict[str, Any] = {
        "window_dimensions": (1, 3, 3, 1),
        "window_strides": (1, 2, 2, 1),
        "padding": ((0, 0), (1, 1), (1, 1), (0, 0)),
    }
    # A zero of numpy: under a trace one of jax is no constant, and the sum has no gradient then.
    total = jax.lax.reduce_window(x, np.zeros((), x.dtype), jax.lax.add, **window)
    ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    return total / jax.lax.reduce_window(ones, np.zeros((), x.dtype), jax.lax.add, **window)
