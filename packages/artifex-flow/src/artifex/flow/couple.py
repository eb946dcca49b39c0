"""Couplings of vectors: half of x passes through and says how the other half is moved.

    x = (x_a, x_b),    z_a = g(x_a),    z_bᵢ = T(x_bᵢ; θᵢ(x_a, c))                                               (1)
    log |det ∂z/∂x| = Σᵢ log g'(x_aᵢ) + Σᵢ log ∂z_bᵢ/∂x_bᵢ                                                       (2)
    x_a = g⁻¹(z_a),    x_bᵢ = T⁻¹(z_bᵢ; θᵢ(x_a, c))                                                              (3)
g is the identity, or a map of each number with parameters of its own [2]. x_a are the first ⌈D/2⌉ numbers; put a `Swap`
or a `Permute` behind, so that all are moved: of an odd number, `Reverse` would leave the middle one where it is. Both
directions take one pass.

References:
    [1] Dinh et al., Density estimation using Real NVP, 2017, arXiv:1605.08803
    [2] Durkan et al., Neural Spline Flows, 2019, arXiv:1906.04032
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from artifex.core.nn.init import zeros
from artifex.flow.bijector import Bijector, Context, Data, Event, Fast, Mapped
from artifex.flow.networks import MapParams
from artifex.flow.spline import ScalarMap, as_precise

Conditioner = Callable[..., MapParams]


class Coupling(nnx.Module):
    """A coupling of vectors of D numbers (eq. 1).

    Args:
        conditioner: from the first ⌈D/2⌉ numbers and the context to parameters of the others' maps.
        own: g, the map of the numbers that pass through; None for the identity.
    """

    def __init__(self, dim: int, scalar: ScalarMap, conditioner: Conditioner, own: Bijector | None = None) -> None:
        check_dim(dim)
        self.event_shape: Event = (dim,)
        self.fast: Fast = "both"
        self.split = passing(dim)
        self.scalar = scalar
        self.conditioner = conditioner
        self.own = own

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """Data to base (eq. 1)."""
        a, b = jnp.split(x.T, [self.split])
        moved, log_slope = self.scalar.forward(b, as_precise(self.conditioner(a.T, context), b))  # eq. 1
        z, log_det = Mapped(a.T, jnp.zeros(len(x), x.dtype)) if self.own is None else self.own.forward(a.T)
        return Mapped(jnp.concatenate([z.T, moved]).T, log_det + log_slope.sum(0))  # eq. 2

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """Base to data (eq. 3)."""
        a, b = jnp.split(z.T, [self.split])
        x, log_det = Mapped(a.T, jnp.zeros(len(z), z.dtype)) if self.own is None else self.own.inverse(a.T)
        moved, log_slope = self.scalar.inverse(b, as_precise(self.conditioner(x, context), b))  # eq. 3
        return Mapped(jnp.concatenate([x.T, moved]).T, log_det + log_slope.sum(0))


class Pointwise(nnx.Module):
    """A map of each number by itself, with parameters that depend on nothing."""

    def __init__(self, dim: int, scalar: ScalarMap, *, rngs: nnx.Rngs) -> None:
        self.event_shape: Event = (dim,)
        self.fast: Fast = "both"
        self.scalar = scalar
        self.params = nnx.Param(zeros(rngs.params(), (scalar.n_params, dim, 1)))

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """Data to base."""
        z, log_slope = self.scalar.forward(x.T, self._along(x))
        return Mapped(z.T, log_slope.sum(0))

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """Base to data."""
        x, log_slope = self.scalar.inverse(z.T, self._along(z))
        return Mapped(x.T, log_slope.sum(0))

    def _along(self, x: Data) -> MapParams:
        return jnp.broadcast_to(self.params[...], (*self.params.shape[:2], len(x)))


class Swap(nnx.Module):
    """The numbers that passed through behind those that were moved."""

    def __init__(self, dim: int) -> None:
        self.event_shape: Event = (dim,)
        self.fast: Fast = "both"

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """Data to base: (x_b, x_a)."""
        return Mapped(jnp.roll(x.T, -passing(x.shape[-1]), axis=0).T, jnp.zeros(len(x), x.dtype))

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """Base to data."""
        return Mapped(jnp.roll(z.T, passing(z.shape[-1]), axis=0).T, jnp.zeros(len(z), z.dtype))


def passing(dim: int) -> int:
    """How many numbers pass through."""
    return (dim + 1) // 2


def check_dim(dim: int) -> None:
    """Refuse a coupling of a single number."""
    if dim < 2:
        raise ValueError(
            f"Coupling: expected vectors of at least 2 numbers, got {dim}. One part must say how the other is moved; "
            "use an autoregressive flow for one number."
        )
