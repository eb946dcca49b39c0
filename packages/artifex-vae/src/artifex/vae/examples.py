"""A tiny config and a batch for each model: what the conformance kit runs."""

from __future__ import annotations

import numpy as np

from artifex.core.config import ModelConfig
from artifex.vae.beta_tc_vae import BetaTCVAEConfig
from artifex.vae.beta_vae import BetaVAEConfig
from artifex.vae.conditional_vae import ConditionalVAEConfig
from artifex.vae.hierarchical_vae import HierarchicalVAEConfig
from artifex.vae.iwae import IWAEConfig
from artifex.vae.networks import DecoderConfig, EncoderConfig
from artifex.vae.vae import VAEConfig
from artifex.vae.vq_vae import VQVAEConfig

Example = tuple[ModelConfig, dict[str, np.ndarray]]
ENCODER = EncoderConfig(hidden_dims=(32,))
DECODER = DecoderConfig(hidden_dims=(32,), output_dim=(4, 4, 1))


def bars(n: int = 16) -> dict[str, np.ndarray]:
    """4 × 4 pictures of one bar each, with its direction as the label."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=n).astype(np.int32)
    x = np.zeros((n, 4, 4, 1), np.float32)
    for i, place in enumerate(rng.integers(4, size=n)):
        x[i, place if y[i] else slice(None), slice(None) if y[i] else place] = 1
    return {"x": x, "y": y}


def vae() -> Example:
    """A VAE of 4 × 4 pictures."""
    return VAEConfig(encoder=ENCODER, decoder=DECODER, latent_dim=3, warmup_steps=5), bars()


def beta_vae() -> Example:
    """A β-VAE of 4 × 4 pictures."""
    return BetaVAEConfig(encoder=ENCODER, decoder=DECODER, latent_dim=3), bars()


def conditional_vae() -> Example:
    """A conditional VAE of 4 × 4 pictures in two classes."""
    config = ConditionalVAEConfig(
        encoder=ENCODER,
        decoder=DECODER,
        latent_dim=3,
        n_classes=2,
        embed_dim=4,
        prior_hidden_dims=(8,),
        drop_condition=0.1,
    )
    return config, bars()


def hierarchical_vae() -> Example:
    """A ladder VAE of 4 × 4 pictures."""
    return HierarchicalVAEConfig(latent_dims=(3, 2), hidden_dims=(16, 8), decoder=DECODER, warmup_steps=5), bars()


def iwae() -> Example:
    """An IWAE of 4 × 4 pictures."""
    return IWAEConfig(encoder=ENCODER, decoder=DECODER, latent_dim=3, k=4), bars()


def beta_tc_vae() -> Example:
    """A β-TC-VAE of 4 × 4 pictures."""
    return BetaTCVAEConfig(encoder=ENCODER, decoder=DECODER, latent_dim=3, n_train=64), bars()


def vq_vae() -> Example:
    """A VQ-VAE of 4 × 4 pictures with 2 × 2 codes."""
    batch = bars()
    # Equal pictures would tie between codes, and rounding would choose.
    batch["x"] += 0.1 * np.random.default_rng(1).normal(size=batch["x"].shape).astype(np.float32)
    return VQVAEConfig(output_dim=(4, 4, 1), channels=(8,), n_residual=1, n_codes=8, code_dim=4), batch
