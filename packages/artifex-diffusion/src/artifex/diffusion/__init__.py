"""Diffusion models.

| model            | year | paper                                                                   |
|------------------|------|-------------------------------------------------------------------------|
| ncsn             | 2019 | Song & Ermon, arXiv:1907.05600                                          |
| ddpm             | 2020 | Ho, Jain & Abbeel, arXiv:2006.11239; Nichol & Dhariwal, arXiv:2102.09672 |
| ddim             | 2021 | Song, Meng & Ermon, arXiv:2010.02502                                    |
| score_sde        | 2021 | Song et al., arXiv:2011.13456                                           |
| guided_diffusion | 2021 | Dhariwal & Nichol, arXiv:2105.05233; Ho & Salimans, arXiv:2207.12598     |
| stable_diffusion | 2022 | Rombach et al., arXiv:2112.10752                                        |
| autoencoder_kl   | 2022 | the same                                                                |
| latent_diffusion | 2022 | the same                                                                |
| edm              | 2022 | Karras et al., arXiv:2206.00364                                         |
| flow_matching    | 2023 | Lipman et al., arXiv:2210.02747; Liu, Gong & Liu, arXiv:2209.03003       |
| dit              | 2023 | Peebles & Xie, arXiv:2212.09748                                         |
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "autoencoder": "CoderConfig",
    "autoencoder_kl": "AutoencoderKL AutoencoderKLConfig",
    "conditional_unet": "ConditionalUNetConfig",
    "ddim": "DDIM DDIMConfig",
    "ddpm": "DDPM DDPMConfig improved_ddpm",
    "dit": "DiT DiTConfig",
    "edm": "EDM EDMConfig",
    "flow_matching": "FlowMatching FlowMatchingConfig",
    "guided": "GuidedDiffusion GuidedDiffusionConfig",
    "latent_diffusion": "LatentDiffusion LatentDiffusionConfig encode_all measure_scale",
    "ncsn": "NCSN NCSNConfig",
    "perceptron": "PerceptronConfig",
    "prompt": "Tokenizer",
    "published": "load_stable_diffusion",
    "score_sde": "ScoreSDE ScoreSDEConfig",
    "stable_diffusion": "StableDiffusion StableDiffusionConfig",
    "text": "TextEncoderConfig",
    "transformer": "TransformerConfig sized",
    "unet": "UNetConfig",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'artifex.diffusion' has no attribute {name!r}")
    return getattr(importlib.import_module(f"artifex.diffusion.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_MODULE)
