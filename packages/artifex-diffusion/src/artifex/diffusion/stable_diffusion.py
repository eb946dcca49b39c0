"""Stable Diffusion: pictures from sentences, in the space of an autoencoder's codes.

    c = text(y)                                          y token numbers, ∅ those of the empty prompt             (1)
    z = s · code(x),   z_t = α z + σ ε                   s the published scale                                    (2)
    L = E ‖ε − ε̂(z_t, t, c)‖²,   c = text(∅) now and then,   or the same in v                                    (3)
    ε̂ ← ε̂(∅) + w (ε̂(c) − ε̂(∅))                          while sampling; a negative prompt stands for ∅            (4)
    x = decoder(z₀ / s)
Only the network ε̂ is trained; encoder, decoder and text encoder are loaded and stay. The sampler's times are the
published ones: steps 1 + (n − 1)(T // n) to 1 in strides of T // n, and then down to the noise of step 0, not to data.

References:
    [1] Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022, arXiv:2112.10752
    [2] Ho & Salimans, Classifier-Free Diffusion Guidance, 2022, arXiv:2207.12598
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.config import ModelConfig
from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.prob import gaussian, noise
from artifex.core.protocols import Batch
from artifex.core.training.objective import Objective, TrainingSpec, forward_loss
from artifex.diffusion.autoencoder import Coder, CoderConfig, Latent
from artifex.diffusion.autoencoder_kl import check_pictures, within
from artifex.diffusion.blocks import Image
from artifex.diffusion.conditional_unet import ConditionalUNet, ConditionalUNetConfig
from artifex.diffusion.grid import Custom
from artifex.diffusion.guidance import labelled_cfg
from artifex.diffusion.prediction import Denoise, Denoiser
from artifex.diffusion.schedule import Discrete
from artifex.diffusion.solver import DDIMSolver, solve
from artifex.diffusion.text import Ids, TextEncoder, TextEncoderConfig, empty_prompt
from artifex.diffusion.weighting import (
    DenoisingLosses,
    DenoisingOutputs,
    PlainWeight,
    UniformTimes,
    corrupt,
    weighted_loss,
)

Scale = float | Float[Array, ""]
Prompt = Int[Array, " token"]


@dataclass(frozen=True, kw_only=True)
class StableDiffusionConfig(ModelConfig):
    """Text to image; as it stands, version 1."""

    unet: ConditionalUNetConfig = field(default_factory=ConditionalUNetConfig)
    coder: CoderConfig = field(default_factory=lambda: CoderConfig(shape=(512, 512, 3)))
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    schedule: Discrete = field(
        default_factory=lambda: Discrete(rule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    )
    prediction: Literal["eps", "v"] = "eps"  # v for the larger model of version 2
    scale: float = 0.18215  # s: 1 / deviation of the codes
    drop_prompt: float = 0.1  # share of training rows whose prompt is left out
    guidance: float = 7.5  # w
    steps: int = 50  # of the sampler

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unet.shape != self.coder.latent_shape or self.unet.context != self.text.width:
            raise ValueError(
                f"StableDiffusionConfig: expected unet.shape = {self.coder.latent_shape}, the coder's codes, and "
                f"unet.context = {self.text.width}, the width of the text, got {self.unet.shape} and "
                f"{self.unet.context}. The network sees codes and words."
            )
        if not 0 <= self.drop_prompt < 1 or self.scale <= 0:
            raise ValueError(
                f"StableDiffusionConfig: expected 'drop_prompt' in [0, 1) and 'scale' > 0, got {self.drop_prompt} and "
                f"{self.scale}. Published values are 0.1 and 0.18215."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Nothing to start from: the autoencoder and the text encoder come trained."""
        raise ValueError(
            f"{cls.__name__}: expected a folder of weights to start from, got data of shape {spec.shape}. "
            "Call load_stable_diffusion(folder)."
        )


class StableDiffusion(GenerativeModel):
    """Text to image: x are pictures in [−1, 1], y the token numbers of their prompts."""

    conditions: ClassVar[tuple[str, ...]] = ("y",)

    def __init__(self, config: StableDiffusionConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.unet = ConditionalUNet(config.unet, rngs=rngs)
        self.coder = Coder(config.coder, rngs=rngs)
        self.text = TextEncoder(config.text, rngs=rngs)
        self.deterministic = False  # nnx's switch: True leaves no prompt out

    def __call__(self, x: Image, y: Ids, *, rngs: nnx.Rngs | None = None) -> DenoisingOutputs:
        """Noisy codes at times of their own, and what the network says about them."""
        rngs = self.rngs_or_own(rngs)
        z = self.to_code(x, rngs=rngs)
        prompt = y if self.deterministic else self.leave_out(y, rngs)
        return corrupt(self.denoiser, z, UniformTimes(), rngs, self.text(prompt))

    def leave_out(self, y: Ids, rngs: nnx.Rngs) -> Ids:
        """The prompts, a share of them empty, so that one network learns both terms of eq. 4."""
        left_out = noise.uniform(rngs, y.shape[:1]) < self.config.drop_prompt
        return jnp.where(left_out[:, None], empty_prompt(self.config.text), y)

    def loss_fn(self, batch: Batch, outputs: DenoisingOutputs) -> DenoisingLosses:
        """The mean squared error of the prediction (eq. 3)."""
        return weighted_loss(self.denoiser, outputs, PlainWeight(of=self.config.prediction), batch)

    def generate(
        self,
        n_samples: int = 1,
        *,
        y: Ids | None = None,
        negative: Prompt | None = None,
        guidance: Scale | None = None,
        steps: int | None = None,
        xt: Latent | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Image:
        """Pictures in [−1, 1] of the prompts y, or of the empty one.

        Args:
            negative: token numbers of what the pictures should not be.
            guidance: w; the config's when None.
            steps: of the sampler; the config's when None.
            xt: noise to start from, in the place of a draw.
        """
        z = noise.normal(self.rngs_or_own(rngs), (n_samples, *self.config.coder.latent_shape)) if xt is None else xt
        empty = jnp.broadcast_to(empty_prompt(self.config.text), (n_samples, self.config.text.length))
        denoise = self.guided(empty if y is None else y, negative, guidance)
        grid = published_grid(self.config.schedule, steps or self.config.steps)
        return jnp.clip(self.to_picture(solve(denoise, z, grid, DDIMSolver())), -1, 1)

    def guided(self, y: Ids, negative: Prompt | None = None, guidance: Scale | None = None) -> Denoise:
        """The denoiser of codes for these prompts (eq. 4)."""
        check_prompts(y, self.config.text)
        scale = self.config.guidance if guidance is None else guidance
        if isinstance(scale, int | float) and scale == 1:
            if negative is not None:
                raise ValueError(
                    "StableDiffusion: expected 'guidance' other than 1 beside a negative prompt, got 1. Without "
                    "guidance the negative prompt has no effect."
                )
            context = self.text(y)
            return lambda z, t: self.denoiser(z, t, context)
        null = self.text((empty_prompt(self.config.text) if negative is None else negative)[None])
        labels = (self.text(y), jnp.broadcast_to(null, (len(y), *null.shape[1:])))
        return labelled_cfg(self.denoiser, labels, scale)  # eq. 4

    @property
    def denoiser(self) -> Denoiser:
        """z₀ from z_t."""
        return Denoiser(self.unet, self.config.schedule, self.config.prediction)

    def to_code(self, x: Image, *, rngs: nnx.Rngs) -> Latent:
        """A draw from the posterior of x, scaled (eq. 2)."""
        return self.config.scale * gaussian.sample(self.coder.posterior(x), rngs)

    def to_picture(self, z: Latent) -> Float[Array, "batch height width channel"]:
        """The picture of a scaled code; in float32, because the decoder overflows in half precision."""
        return self.coder.decode(z.astype(jnp.float32) / self.config.scale)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse pictures of another shape or range."""
        check_pictures("StableDiffusionConfig", "model.coder.shape", self.config.coder.shape, spec)

    def training_spec(self) -> TrainingSpec:
        """The network learns; the rest stays."""
        objective = Objective(name="loss", loss=forward_loss, wrt=within("unet"))
        return TrainingSpec(objectives=(objective,), ema=within("unet"), frozen=(within("coder"), within("text")))


def published_grid(schedule: Discrete, n: int) -> Any:
    """The places of the published sampler: strides of T // n that end at the first step, not at data."""
    total = schedule.n_steps
    if not 1 <= n < total:
        raise ValueError(
            f"StableDiffusion: expected 'steps' from 1 to {total - 1}, got {n}. The schedule has {total} steps."
        )
    index = np.arange(n)[::-1] * (total // n) + 1
    return Custom(t=((np.append(index, 0) + 1) / total).tolist())(schedule, n)


def check_prompts(y: Ids, config: TextEncoderConfig) -> None:
    """Refuse rows of another length than the text encoder's."""
    if y.shape[-1] != config.length:
        raise ValueError(
            f"StableDiffusion: expected 'y' with {config.length} token numbers a prompt, got {y.shape[-1]}. "
            "Make them with artifex.diffusion.prompt.Tokenizer."
        )
