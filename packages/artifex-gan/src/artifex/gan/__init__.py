"""Generative adversarial networks.

| model          | year | paper                                      |
|----------------|------|--------------------------------------------|
| cgan           | 2014 | Mirza & Osindero, arXiv:1411.1784          |
| dcgan          | 2016 | Radford, Metz & Chintala, arXiv:1511.06434 |
| lsgan          | 2017 | Mao et al., arXiv:1611.04076               |
| pix2pix        | 2017 | Isola et al., arXiv:1611.07004             |
| wgan           | 2017 | Arjovsky et al., arXiv:1701.07875          |
| wgan_gp        | 2017 | Gulrajani et al., arXiv:1704.00028         |
| cyclegan       | 2017 | Zhu et al., arXiv:1703.10593               |
| patchgan       | 2018 | Wang et al., arXiv:1711.11585              |
| projection_gan | 2018 | Miyato & Koyama, arXiv:1802.05637          |
| stylegan3_t    | 2021 | Karras et al., arXiv:2106.12423            |
| stylegan3_r    | 2021 | Karras et al., arXiv:2106.12423            |
| r3gan          | 2024 | Huang et al., arXiv:2501.05441             |
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "augment": "ADA DiffAugment",
    "cgan": "CGAN CGANConfig",
    "cyclegan": "CycleGAN CycleGANConfig",
    "dcgan": "DCGAN DCGANConfig",
    "lsgan": "LSGAN LSGANConfig",
    "networks": "ConvNetworks MLPNetworks",
    "patchgan": "PatchGAN PatchGANConfig",
    "pix2pix": "Pix2Pix Pix2PixConfig",
    "projection_gan": "ProjectionGAN ProjectionGANConfig",
    "r3gan": "R3GAN R3GANConfig ResidualNetworks",
    "stylegan3": "StyleGAN3T StyleGAN3TConfig StyleGAN3R StyleGAN3RConfig",
    "wgan": "WGAN WGANConfig",
    "wgan_gp": "WGANGP WGANGPConfig",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'artifex.gan' has no attribute {name!r}")
    return getattr(importlib.import_module(f"artifex.gan.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_MODULE)
