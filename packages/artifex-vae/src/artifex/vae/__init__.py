"""Variational autoencoders.

| model            | year | paper                                                  |
|------------------|------|--------------------------------------------------------|
| vae              | 2013 | Kingma & Welling, arXiv:1312.6114                      |
| conditional_vae  | 2015 | Sohn, Lee & Yan, NeurIPS 2015                          |
| iwae             | 2015 | Burda et al., arXiv:1509.00519; DReG, arXiv:1810.04152 |
| hierarchical_vae | 2016 | Sønderby et al., arXiv:1602.02282                      |
| beta_vae         | 2017 | Higgins et al.; Burgess et al., arXiv:1804.03599       |
| vq_vae           | 2017 | van den Oord et al., arXiv:1711.00937                  |
| beta_tc_vae      | 2018 | Chen et al., arXiv:1802.04942                          |
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "beta_tc_vae": "BetaTCVAE BetaTCVAEConfig",
    "beta_vae": "BetaVAE BetaVAEConfig",
    "conditional_vae": "ConditionalVAE ConditionalVAEConfig",
    "hierarchical_vae": "HierarchicalVAE HierarchicalVAEConfig",
    "iwae": "IWAE IWAEConfig",
    "networks": "EncoderConfig DecoderConfig ConvEncoderConfig ConvDecoderConfig",
    "vae": "VAE VAEConfig",
    "vq_vae": "VQVAE VQVAEConfig",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'artifex.vae' has no attribute {name!r}")
    return getattr(importlib.import_module(f"artifex.vae.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_MODULE)
