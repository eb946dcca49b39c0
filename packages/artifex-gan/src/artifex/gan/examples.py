"""A tiny config and a batch for each model: what the conformance kit runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from artifex.core.config import ModelConfig
from artifex.gan.cgan import CGANConfig
from artifex.gan.cyclegan import CycleGANConfig
from artifex.gan.dcgan import DCGANConfig
from artifex.gan.lsgan import LSGANConfig
from artifex.gan.networks import ConvNetworks, MLPNetworks
from artifex.gan.patchgan import PatchGANConfig
from artifex.gan.pix2pix import Pix2PixConfig
from artifex.gan.projection_gan import ProjectionGANConfig
from artifex.gan.r3gan import R3GANConfig, ResidualNetworks
from artifex.gan.stylegan3 import StyleGAN3RConfig, StyleGAN3TConfig
from artifex.gan.wgan import WGANConfig
from artifex.gan.wgan_gp import WGANGPConfig

Example = tuple[ModelConfig, dict[str, np.ndarray]]
SMALL = ConvNetworks(width=4)
PERCEPTRONS = MLPNetworks(hidden_dims=(16,))


def bars(n: int = 16, side: int = 8) -> dict[str, np.ndarray]:
    """Pictures of one bar each within [−1, 1], with its direction as the label."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=n).astype(np.int32)
    x = np.full((n, side, side, 1), -1, np.float32)
    for i, place in enumerate(rng.integers(side, size=n)):
        x[i, place if y[i] else slice(None), slice(None) if y[i] else place] = 1
    return {"x": x, "y": y}


def pictures(n: int = 16) -> dict[str, np.ndarray]:
    """The bars without labels."""
    return {"x": bars(n)["x"]}


def dcgan() -> Example:
    """A DCGAN of 8 × 8 pictures."""
    return DCGANConfig(shape=(8, 8, 1), z_dim=4, networks=SMALL), pictures()


def lsgan() -> Example:
    """A least-squares GAN of 8 × 8 pictures on perceptrons."""
    return LSGANConfig(shape=(8, 8, 1), z_dim=4, networks=PERCEPTRONS), pictures()


def wgan() -> Example:
    """A WGAN of 8 × 8 pictures, two critic steps on 8 rows each."""
    return WGANConfig(shape=(8, 8, 1), z_dim=4, networks=PERCEPTRONS, clip=0.1, critic_steps=2), pictures()


def wgan_gp() -> Example:
    """A WGAN-GP of 8 × 8 pictures, two critic steps on 8 rows each."""
    networks = ConvNetworks(width=4, norm="none", critic_norm="none")
    return WGANGPConfig(shape=(8, 8, 1), z_dim=4, networks=networks, critic_steps=2), pictures()


def cgan() -> Example:
    """A conditional GAN of 8 × 8 pictures in two classes."""
    return CGANConfig(shape=(8, 8, 1), z_dim=4, networks=PERCEPTRONS, n_classes=2), bars()


def projection_gan() -> Example:
    """A projection GAN of 8 × 8 pictures in two classes."""
    sizes: dict[str, Any] = {"z_dim": 4, "width": 8, "critic_width": 8, "critic_steps": 2}
    return ProjectionGANConfig(shape=(8, 8, 1), n_classes=2, **sizes), bars()


def r3gan() -> Example:
    """An R3GAN of 8 × 8 pictures."""
    networks = ResidualNetworks(widths=(8, 8), blocks=1, expansion=1, group_width=4)
    return R3GANConfig(shape=(8, 8, 1), z_dim=4, networks=networks), pictures()


def negatives(n: int = 16, side: int = 8) -> dict[str, np.ndarray]:
    """Grainy bars, and others with dark and bright exchanged.

    Without grain some channels are the same everywhere, and their instance norm is rounding noise over √ε.
    """
    x = bars(2 * n, side)["x"]
    x = (0.5 * x + 0.5 * np.random.default_rng(1).uniform(-1, 1, x.shape)).astype(np.float32)
    return {"x": x[:n], "y": -x[n:]}


def pix2pix() -> Example:
    """A pix2pix of 8 × 8 pictures."""
    return Pix2PixConfig(shape=(8, 8, 1), source_channels=1, width=4, depth=2, patch_layers=1), negatives()


def patchgan() -> Example:
    """A translator of 8 × 8 pictures under two critics."""
    sizes: dict[str, Any] = {"width": 4, "halvings": 1, "blocks": 1, "patch_layers": 0}
    return PatchGANConfig(shape=(8, 8, 1), source_channels=1, **sizes), negatives()


def cyclegan() -> Example:
    """A CycleGAN of 8 × 8 pictures with a pool of three."""
    return CycleGANConfig(shape=(8, 8, 1), width=4, blocks=0, patch_layers=0, pool=3), negatives()


def stylegan3_t() -> Example:
    """A StyleGAN3-T of 8 × 8 pictures with three layers."""
    sizes: dict[str, Any] = {"z_dim": 4, "w_dim": 4, "base": 16, "max_channels": 4, "n_layers": 3}
    return StyleGAN3TConfig(shape=(8, 8, 1), r1_every=2, **sizes), pictures(8)


def stylegan3_r() -> Example:
    """A StyleGAN3-R of 8 × 8 pictures with three layers."""
    sizes: dict[str, Any] = {"z_dim": 4, "w_dim": 4, "base": 16, "max_channels": 2, "n_layers": 3}
    return StyleGAN3RConfig(shape=(8, 8, 1), ada_target=None, blur_steps=4, **sizes), pictures(8)
