"""Autoencoder with a small KL term, whose codes a diffusion model learns.

    q(z|x) = N(μ(x), σ(x)² I),   x̂ = decoder(z)
    R = Σ |x − x̂|                                               over the entries of a picture                    (1)
    K = ½ Σ (μ² + σ² − 1 − log σ²)                                                                               (2)
    L = R + β K + λ w G,   w = ‖∇R‖ / (‖∇G‖ + 10⁻⁴)             G from a discriminator of patches                 (3)
The gradients of eq. 3 are those of the last kernel of the decoder, so that both terms pull equally, times λ. G joins
after `adversarial_start` steps, once there is something to judge; from then on the discriminator learns too.

Differs: the perceptual distance of [1] needs the weights of another network and is left out; R is what it is added to.

References:
    [1] Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022, arXiv:2112.10752
    [2] Esser, Rombach & Ommer, Taming Transformers for High-Resolution Image Synthesis, 2021, arXiv:2012.09841
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, TypedDict

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.config import ModelConfig
from artifex.core.data.spec import DataSpec, halvings
from artifex.core.model import GenerativeModel
from artifex.core.prob import gaussian, noise
from artifex.core.prob.gaussian import Gaussian
from artifex.core.protocols import Batch, Losses
from artifex.core.training.objective import Objective, StepContext, TrainingSpec, forward_outputs
from artifex.core.training.rows import masked_mean
from artifex.diffusion.autoencoder import Coder, CoderConfig, Latent
from artifex.diffusion.blocks import Image
from artifex.diffusion.discriminator import Discriminator, deceived, hinge, patches_of

Scalar = Float[Array, ""]
LARGEST_WEIGHT = 1e4  # [2]


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLConfig(ModelConfig):
    """An autoencoder for latent diffusion."""

    coder: CoderConfig = field(default_factory=CoderConfig)
    kl_weight: float = 1e-6  # β
    adversarial_weight: float = 0.5  # λ; 0 leaves the discriminator out
    adversarial_start: int = 50_001  # steps before G joins
    discriminator_widths: tuple[int, ...] = (64, 128, 256, 512)  # all layers but the last halve the sides

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.kl_weight, self.adversarial_weight, self.adversarial_start) < 0:
            raise ValueError(
                "AutoencoderKLConfig: expected 'kl_weight', 'adversarial_weight' and 'adversarial_start' >= 0, got "
                f"{self.kl_weight}, {self.adversarial_weight} and {self.adversarial_start}. 0 switches a term off."
            )
        sides = [patches_of(side, self.discriminator_widths) for side in self.coder.shape[:2]]
        if self.adversarial_weight and min(sides) < 1:
            raise ValueError(
                f"AutoencoderKLConfig: expected 'discriminator_widths' that leave a patch of {self.coder.shape[:2]}, "
                f"got {self.discriminator_widths}. All but the last halve the sides; take fewer."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """The shape of the data; at most two halvings, and a discriminator that joins after 500 steps."""
        shaped: dict[str, Any] = {"shape": spec.shape, "widths": (32, 64, 64)[: 1 + halvings(spec.shape)]}
        layers = max(1, int(math.log2(min(spec.shape[:2]) / 4)))
        critic = {"adversarial_start": 500, "discriminator_widths": (32, 64, 128)[:layers]}
        return cls(coder=CoderConfig(**shaped, n_blocks=1, groups=8), **critic)


class AutoencoderOutputs(TypedDict):
    """The forward pass."""

    mean: Latent
    log_std: Latent
    features: Float[Array, "batch height width width_of_decoder"]  # what the decoder's last layer sees
    reconstruction: Image


class AutoencoderLosses(TypedDict):
    """Sums over a picture's entries, means over pictures."""

    loss: Scalar
    reconstruction: Scalar  # R
    kl: Scalar  # K, nats
    adversarial: Scalar  # G
    weight: Scalar


class AutoencoderKL(GenerativeModel):
    """Pictures to codes and back, also an `Autoencoder`."""

    def __init__(self, config: AutoencoderKLConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.coder = Coder(config.coder, rngs=rngs)
        widths, channels = config.discriminator_widths, config.coder.shape[-1]
        self.discriminator = Discriminator(channels, widths, rngs=rngs) if config.adversarial_weight else None

    def __call__(self, x: Image, *, rngs: nnx.Rngs | None = None) -> AutoencoderOutputs:
        """The posterior of x, and what a draw from it decodes to."""
        q = self.posterior(x)
        features = self.coder.decoder.features(gaussian.sample(q, self.rngs_or_own(rngs)))
        return AutoencoderOutputs(
            mean=q.mean, log_std=q.log_std, features=features, reconstruction=self.coder.decoder.out(features)
        )

    def loss_fn(
        self, batch: Batch, outputs: AutoencoderOutputs, *, step: Int[Array, ""] | None = None
    ) -> AutoencoderLosses:
        """L, with G from `adversarial_start` on, or from the first step where no step is given (eq. 3)."""
        x, q = batch["x"], Gaussian(outputs["mean"], outputs["log_std"])
        error, rows = masked_mean(absolute(x, outputs["reconstruction"]), batch)
        kl, _ = masked_mean(gaussian.kl_to_standard_normal(q), batch)
        adversarial, weight = self.adversarial(batch, outputs)
        return AutoencoderLosses(
            loss=error
            + self.config.kl_weight * kl
            + joined(step, self.config.adversarial_start) * weight * adversarial,
            reconstruction=error,
            kl=kl,
            adversarial=adversarial,
            weight=rows,
        )

    def generate(self, n_samples: int = 1, *, rngs: nnx.Rngs | None = None) -> Image:
        """Pictures of codes from N(0, I); with so small a KL term they are only as good as that is true."""
        z = noise.normal(self.rngs_or_own(rngs), (n_samples, *self.config.coder.latent_shape))
        return self.decode(z.astype(self.config.dtype))

    def posterior(self, x: Image) -> Gaussian:
        """q(z|x)."""
        return self.coder.posterior(x)

    def encode(self, x: Image) -> Latent:
        """The mean of q(z|x)."""
        return self.posterior(x).mean

    def decode(self, z: Latent) -> Image:
        """x̂."""
        return self.coder.decode(z)

    def adversarial(self, batch: Batch, outputs: AutoencoderOutputs) -> tuple[Scalar, Scalar]:
        """G and its weight λ w (eq. 3)."""
        if self.discriminator is None:
            return jnp.zeros(()), jnp.zeros(())
        judge = self.discriminator

        def error(picture: Image) -> Scalar:
            return masked_mean(absolute(batch["x"], picture), batch)[0]

        def fooled(picture: Image) -> Scalar:
            return masked_mean(deceived(judge(picture)), batch)[0]

        norms = [last_norm(self.coder.decoder.out, outputs["features"], term) for term in (error, fooled)]
        weight = jnp.clip(norms[0] / (norms[1] + 1e-4), 0, LARGEST_WEIGHT)  # eq. 3
        return fooled(outputs["reconstruction"]), self.config.adversarial_weight * weight

    def check_data(self, spec: DataSpec) -> None:
        """Refuse pictures of another shape or range."""
        check_pictures("AutoencoderKLConfig", "model.coder.shape", self.config.coder.shape, spec)

    def training_spec(self) -> TrainingSpec:
        """The autoencoder's loss and the discriminator's."""
        first = Objective(name="autoencoder", loss=coder_loss, wrt=within("coder"), additive=self.discriminator is None)
        if self.discriminator is None:
            return TrainingSpec(objectives=(first,), ema=within("coder"))
        second = Objective(name="discriminator", loss=judge_loss, wrt=within("discriminator"))
        return TrainingSpec(objectives=(first, second), ema=within("coder"))


def coder_loss(model: Any, batch: Batch, ctx: StepContext) -> Losses:
    """L where training stands."""
    return model.loss_fn(batch, forward_outputs(model, batch, ctx), step=ctx.step)


def judge_loss(model: Any, batch: Batch, ctx: StepContext) -> Losses:
    """The hinge loss between pictures and their reconstructions."""
    fake = jax.lax.stop_gradient(forward_outputs(model, batch, ctx)["reconstruction"])
    loss, rows = masked_mean(hinge(model.discriminator(batch["x"]), model.discriminator(fake)), batch)
    return {"loss": joined(ctx.step, model.config.adversarial_start) * loss, "weight": rows}


def within(name: str) -> Any:
    """A filter of the parameters below an attribute."""
    return nnx.All(nnx.Param, nnx.PathContains(name))


def joined(step: Int[Array, ""] | None, start: int) -> Scalar:
    """1 from step `start` on, 0 before."""
    return jnp.ones(()) if step is None else (step >= start).astype(jnp.float32)


def absolute(x: Image, picture: Image) -> Float[Array, " batch"]:
    """R of each row (eq. 1)."""
    return jnp.abs(x - picture).sum((1, 2, 3))


def last_norm(layer: nnx.Conv, h: Image, term: Callable[[Image], Scalar]) -> Scalar:
    """‖∇‖ of a term of the picture, for the kernel of the layer that makes it; itself a constant."""
    definition, state = nnx.split(layer)
    state, h = jax.lax.stop_gradient((state, h))
    gradient = jax.grad(lambda state: term(nnx.merge(definition, state)(h)))(state)
    return jax.lax.stop_gradient(jnp.sqrt((gradient["kernel"][...] ** 2).sum()))


def check_pictures(where: str, field_name: str, shape: tuple[int, ...], spec: DataSpec) -> None:
    """Refuse pictures of another shape, and numbers that are not between −1 and 1."""
    if spec.shape != shape:
        raise ValueError(
            f"{where}: expected data of shape {shape}, got {spec.shape}. Set {field_name} to {list(spec.shape)}."
        )
    if "int" in spec.dtype or (spec.low is not None and spec.low < -1) or (spec.high is not None and spec.high > 1):
        raise ValueError(
            f"{where}: expected numbers in [-1, 1], got {spec.dtype} in [{spec.low}, {spec.high}]. Scale the pictures: "
            "x / 127.5 - 1 for bytes."
        )
