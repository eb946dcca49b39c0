"""Normalizing flows.

| model            | year | paper                                                   |
|------------------|------|---------------------------------------------------------|
| iaf              | 2016 | Kingma et al., arXiv:1606.04934                         |
| realnvp          | 2016 | Dinh et al., arXiv:1605.08803                           |
| realnvp_image    | 2016 | Dinh et al., arXiv:1605.08803                           |
| maf              | 2017 | Papamakarios et al., arXiv:1705.07057                   |
| cnf              | 2018 | Chen et al., arXiv:1806.07366; FFJORD, arXiv:1810.01367 |
| glow             | 2018 | Kingma & Dhariwal, arXiv:1807.03039                     |
| neural_spline    | 2019 | Durkan et al., arXiv:1906.04032                         |
| conditional_flow | 2019 | Winkler et al., arXiv:1912.00042                        |
| circular_nsf     | 2020 | Rezende et al., arXiv:2002.02428                        |
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "base": "ConditionalNormal StandardNormal Uniform",
    "bijector": "Bijector Chain Inverse ScanChain",
    "circular_nsf": "CircularNSF CircularNSFConfig",
    "cnf": "CNF CNFConfig",
    "conditional_flow": "ConditionalFlow ConditionalFlowConfig",
    "flow": "Flow FlowConfig",
    "glow": "Glow GlowConfig",
    "iaf": "IAF IAFConfig",
    "image": "Conv1x1 Flatten Split Squeeze",
    "levels": "Dequantise Logit Rescale",
    "maf": "MAF MAFConfig",
    "networks": "MLPConfig ResNetConfig",
    "neural_spline": "AutoregressiveConfig CouplingConfig NeuralSpline NeuralSplineConfig",
    "ode": "ODE",
    "realnvp": "RealNVP RealNVPConfig",
    "realnvp_image": "RealNVPImage RealNVPImageConfig",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'artifex.flow' has no attribute {name!r}")
    return getattr(importlib.import_module(f"artifex.flow.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_MODULE)
