"""A tiny config and a batch for each model: what the conformance kit runs."""

from __future__ import annotations

import numpy as np

from artifex.core.config import ModelConfig
from artifex.flow.circular_nsf import CircularNSFConfig
from artifex.flow.cnf import CNFConfig
from artifex.flow.conditional_flow import ConditionalFlowConfig
from artifex.flow.glow import GlowConfig
from artifex.flow.iaf import IAFConfig
from artifex.flow.maf import MAFConfig
from artifex.flow.networks import MLPConfig
from artifex.flow.neural_spline import CouplingConfig, NeuralSplineConfig
from artifex.flow.realnvp import RealNVPConfig
from artifex.flow.realnvp_image import RealNVPImageConfig

Example = tuple[ModelConfig, dict[str, np.ndarray]]
NET = MLPConfig(hidden_dims=(8,))


def stripes(n: int = 16) -> dict[str, np.ndarray]:
    """4 × 4 pictures in four levels, light on one side and dark on the other."""
    rng = np.random.default_rng(0)
    light = np.sort(rng.integers(0, 4, (n, 1, 4, 1)), axis=2)
    return {"x": (np.broadcast_to(light, (n, 4, 4, 1)) / 3).astype(np.float32)}


def banana(n: int = 64) -> dict[str, np.ndarray]:
    """Points on a bent curve, with the side that they lie on."""
    a, b = np.random.default_rng(0).standard_normal((2, n))
    return {"x": np.stack([a, a**2 / 2 + 0.3 * b], -1).astype(np.float32), "y": (a > 0).astype(np.int32)}


def realnvp() -> Example:
    """A RealNVP of points."""
    return RealNVPConfig(n_layers=2, net=NET), banana()


def maf() -> Example:
    """A MAF of points."""
    return MAFConfig(n_layers=2, hidden_dims=(8,)), banana()


def iaf() -> Example:
    """An IAF of points."""
    return IAFConfig(n_layers=2, hidden_dims=(8,)), banana()


def neural_spline() -> Example:
    """A neural spline flow of points."""
    return NeuralSplineConfig(n_layers=2, bins=4, transform=CouplingConfig(net=NET)), banana()


def circular_nsf() -> Example:
    """A density of two angles."""
    return CircularNSFConfig(n_layers=2, bins=4, net=NET), {"x": np.arctan(banana()["x"])}


def conditional_flow() -> Example:
    """A flow of points given their side."""
    return ConditionalFlowConfig(context_dim=2, n_layers=2, bins=4, net=NET), banana()


def glow() -> Example:
    """A Glow of 4 × 4 pictures at two scales."""
    return GlowConfig(event_shape=(4, 4, 1), levels=4, n_scales=2, n_steps=1, hidden_channels=4), stripes()


def realnvp_image() -> Example:
    """A Real NVP of 4 × 4 pictures."""
    config = RealNVPImageConfig(
        event_shape=(4, 4, 1), levels=4, n_scales=1, n_couplings=1, hidden_channels=4, n_blocks=1
    )
    return config, stripes()


def cnf() -> Example:
    """A continuous flow of points on a curve."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 16))
    return CNFConfig(hidden_dims=(8,), n_steps=4), {"x": np.stack([a, a**2 / 2 + 0.3 * b], -1).astype(np.float32)}
