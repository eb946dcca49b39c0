"""Circular neural spline flow: a density of angles.

    x, z                  angles in [−π, π]^D, whose ends are one point
    layer:  z = T(x + φ mod 2π),    T a coupling by circular splines                                             (1)
    conditioners see (cos x_a, sin x_a), so that the density has no seam                                          (2)
    log p(x) = −D log 2π + Σ over layers and i of log spline slopeᵢ                                              (3)
φ is one learned angle for each number: a circular spline alone never moves the point ±π [1]. The halves swap from
layer to layer.

References:
    [1] Rezende et al., Normalizing Flows on Tori and Spheres, 2020, arXiv:2002.02428
    [2] Durkan et al., Neural Spline Flows, 2019, arXiv:1906.04032
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.nn.init import uniform
from artifex.flow.base import Uniform
from artifex.flow.bijector import Bijector, Chain, Context, Data, Event, Fast, Mapped, ScanChain
from artifex.flow.couple import Coupling, Swap, passing
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.networks import AnyNet, Conditioner, MapParams, MLPConfig
from artifex.flow.spline import Spline


@dataclass(frozen=True, kw_only=True)
class CircularNSFConfig(FlowConfig):
    """A neural spline flow of angles."""

    dim: int = 2  # angles in x
    n_layers: int = 6
    bins: int = 8
    net: AnyNet = field(default_factory=MLPConfig)


class Rotate(nnx.Module):
    """x + φ, brought back to [−π, π] (eq. 1)."""

    def __init__(self, dim: int, *, rngs: nnx.Rngs) -> None:
        self.event_shape: Event = (dim,)
        self.fast: Fast = "both"
        self.angle = nnx.Param(uniform(math.pi)(rngs.params(), (dim,)))

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """Data to base (eq. 1)."""
        return Mapped(wrapped(x, self.angle[...]), jnp.zeros(len(x), x.dtype))

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """Base to data."""
        return Mapped(wrapped(z, -self.angle[...]), jnp.zeros(len(z), z.dtype))


class OnCircle(nnx.Module):
    """A conditioner of the cosines and sines of angles (eq. 2)."""

    def __init__(self, conditioner: Conditioner) -> None:
        self.conditioner = conditioner

    def __call__(self, x: Float[Array, "batch angle"], context: Context | None = None) -> MapParams:
        """Parameters of the maps."""
        return self.conditioner(jnp.concatenate([jnp.cos(x), jnp.sin(x)], -1), context)


class CircularNSF(Flow):
    """A neural spline flow of angles."""

    def __init__(self, config: CircularNSFConfig, *, rngs: nnx.Rngs) -> None:
        def layer(rngs: nnx.Rngs) -> Bijector:
            return Chain(Rotate(config.dim, rngs=rngs), circular_coupling(config, rngs), Swap(config.dim))

        bijector = ScanChain(layer, config.n_layers, rngs=rngs)
        base = Uniform((config.dim,), math.pi, config.dtype)
        super().__init__(config, base, bijector, bounds=(-math.pi, math.pi), rngs=rngs)


def circular_coupling(config: CircularNSFConfig, rngs: nnx.Rngs) -> Coupling:
    """T of a layer (eq. 1)."""
    spline = Spline(config.bins, math.pi, circular=True)
    split = passing(config.dim)
    sizes = (2 * split, config.dim - split)
    net = Conditioner(config.net, sizes, spline.n_params, context_dim=config.context_dim, rngs=rngs)
    return Coupling(config.dim, spline, OnCircle(net))


def wrapped(x: Float[Array, "batch angle"], by: Float[Array, " angle"]) -> Float[Array, "batch angle"]:
    """x + by in [−π, π]; numbers that are no angle stay outside, where the density is 0."""
    turned = jnp.remainder(x + by + math.pi, 2 * math.pi) - math.pi
    return jnp.where(jnp.abs(x) <= math.pi * (1 + 1e-6), turned, x)
