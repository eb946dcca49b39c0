"""A tiny config and a batch for each model: what the conformance kit runs."""

from __future__ import annotations

import numpy as np

from artifex.core.config import ModelConfig
from artifex.diffusion.autoencoder import CoderConfig
from artifex.diffusion.autoencoder_kl import AutoencoderKLConfig
from artifex.diffusion.conditional_unet import ConditionalUNetConfig
from artifex.diffusion.ddim import DDIMConfig
from artifex.diffusion.ddpm import DDPMConfig
from artifex.diffusion.dit import DiTConfig
from artifex.diffusion.edm import EDMConfig
from artifex.diffusion.flow_matching import FlowMatchingConfig
from artifex.diffusion.guided import GuidedDiffusionConfig
from artifex.diffusion.latent_diffusion import LatentDiffusionConfig
from artifex.diffusion.ncsn import NCSNConfig
from artifex.diffusion.perceptron import PerceptronConfig
from artifex.diffusion.schedule import Discrete
from artifex.diffusion.score_sde import ScoreSDEConfig
from artifex.diffusion.stable_diffusion import StableDiffusionConfig
from artifex.diffusion.text import TextEncoderConfig
from artifex.diffusion.transformer import TransformerConfig

Example = tuple[ModelConfig, dict[str, np.ndarray]]
NETWORK = PerceptronConfig(shape=(4, 4, 1), width=32, depth=0, embed_dim=16)
LABELLED = NETWORK.replace(n_classes=2)
TEN = Discrete(steps=10, beta_start=0.01, beta_end=0.7)
RANGE = (0.0, 1.0)
CODER = CoderConfig(shape=(4, 4, 1), widths=(4,), n_blocks=1, latent=2, groups=2)


def bars(n: int = 16, *, labelled: bool = False) -> dict[str, np.ndarray]:
    """4 × 4 pictures of one bar each, with its direction as the label where one is asked for."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=n).astype(np.int32)
    x = np.zeros((n, 4, 4, 1), np.float32)
    for i, place in enumerate(rng.integers(4, size=n)):
        x[i, place if y[i] else slice(None), slice(None) if y[i] else place] = 1
    return {"x": x, "y": y} if labelled else {"x": x}


def ddpm() -> Example:
    """DDPM of 4 × 4 pictures in ten steps, with a learned variance."""
    wide = NETWORK.replace(out_channels=2, depth=1)
    return DDPMConfig(network=wide, schedule=TEN, variance="learned", levels=2, data_range=RANGE), bars()


def ddim() -> Example:
    """DDIM of 4 × 4 pictures, sampled in five of ten steps."""
    return DDIMConfig(network=NETWORK, schedule=TEN, data_range=RANGE, eta=0.5, steps=5), bars()


def score_sde() -> Example:
    """A score-based model of 4 × 4 pictures."""
    return ScoreSDEConfig(network=NETWORK, data_range=RANGE, steps=10), bars()


def ncsn() -> Example:
    """A score network of 4 × 4 pictures on three levels."""
    config = NCSNConfig(
        network=NETWORK.replace(embedding="fourier"),
        n_levels=3,
        repeats=3,
        step=1e-3,
        denoise_last=True,
        data_range=RANGE,
    )
    return config, bars()


def edm() -> Example:
    """EDM of 4 × 4 pictures."""
    return EDMConfig(network=NETWORK, data_range=RANGE, steps=5), bars()


def flow_matching() -> Example:
    """Flow matching of 4 × 4 pictures."""
    return FlowMatchingConfig(network=NETWORK, data_range=RANGE, steps=5), bars()


def guided() -> Example:
    """Guided diffusion of 4 × 4 pictures in two classes."""
    config = GuidedDiffusionConfig(network=LABELLED, schedule=TEN, label_dropout=0.2, data_range=RANGE, steps=5)
    return config, bars(labelled=True)


def dit() -> Example:
    """A transformer over 2 × 2 patches of 4 × 4 pictures in two classes."""
    network = TransformerConfig(shape=(4, 4, 1), patch=2, depth=1, width=16, n_heads=2, n_classes=2)
    return DiTConfig(network=network, schedule=TEN, data_range=RANGE, steps=5), bars(labelled=True)


def autoencoder_kl() -> Example:
    """An autoencoder of 4 × 4 pictures with 4 × 4 codes, judged from the start."""
    return AutoencoderKLConfig(coder=CODER, adversarial_start=0, discriminator_widths=(4,)), bars()


def latent_diffusion() -> Example:
    """A perceptron that diffuses 4 × 4 codes of 4 × 4 pictures."""
    network = NETWORK.replace(shape=(4, 4, 2))
    return LatentDiffusionConfig(
        autoencoder=AutoencoderKLConfig(coder=CODER, adversarial_weight=0.0),
        diffusion=DDIMConfig(network=network, schedule=TEN, data_range=None, steps=5),
    ), bars()


def stable_diffusion() -> Example:
    """4 × 4 pictures from prompts of four tokens, through codes of two channels."""
    config = StableDiffusionConfig(
        unet=ConditionalUNetConfig(
            shape=(4, 4, 2), widths=(4,), n_blocks=1, attends=(True,), n_heads=(1,), context=8, groups=2
        ),
        coder=CODER,
        text=TextEncoderConfig(n_tokens=7, length=4, width=8, inner=8, depth=1, n_heads=2),
        schedule=Discrete(rule="scaled_linear", steps=10, beta_start=0.01, beta_end=0.7),
        scale=1.0,
        steps=4,
    )
    batch = bars(labelled=True)
    words = np.stack([np.full(16, 5), batch["y"], np.full(16, 6), np.full(16, 6)], axis=1)
    return config, {"x": 2 * batch["x"] - 1, "y": words.astype(np.int32)}
