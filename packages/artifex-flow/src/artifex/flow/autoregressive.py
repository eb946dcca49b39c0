"""Autoregressive transforms: each number is moved as the numbers before it say.

    zᵢ = T(xᵢ; θᵢ(x₁ … xᵢ₋₁, c)),    log |det ∂z/∂x| = Σᵢ log ∂zᵢ/∂xᵢ                                            (1)
The forward direction takes one pass of a masked network. The inverse is the fixed point of whole-vector sweeps,
    x ← T⁻¹(z; θ(x, c)),                                                                                          (2)
of which D always suffice: after k sweeps the first k numbers are exact. Trained flows need far fewer, so `jacobi` stops
a row when a sweep no longer changes it beyond rounding; a row that has stopped stays, so that a sample does not depend
on its neighbours. `sequential` makes all D sweeps, each of which settles one number; a gradient passes through it.

References:
    [1] Papamakarios, Pavlakou & Murray, Masked Autoregressive Flow, 2017, arXiv:1705.07057
    [2] Song et al., Accelerating Feedforward Computation via Parallel Nonlinear Equation Solving, arXiv:2002.03629
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Int

from artifex.core.nn.masked import MADE
from artifex.flow.bijector import Context, Data, Event, Fast, Mapped
from artifex.flow.spline import ScalarMap, as_precise

Solve = Literal["jacobi", "sequential"]
ROUNDING = 8  # a change below this many ε of a number's size is rounding


class Sweeps(NamedTuple):
    """Where a Jacobi iteration stands."""

    x: Data
    done: Bool[Array, " batch"]
    n_sweeps: Int[Array, ""]


class Autoregressive(nnx.Module):
    """A transform of vectors whose forward direction is one pass (eq. 1)."""

    def __init__(self, scalar: ScalarMap, made: MADE, solve: Solve = "jacobi") -> None:
        self.event_shape: Event = (made.dim,)
        self.fast: Fast = "forward"
        self.scalar = scalar
        self.made = made
        self.solve: Solve = solve

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """Data to base (eq. 1)."""
        columns = x.T  # once: gradients of two transposes would be added up as rows
        params = as_precise(self.made(columns.T, context), columns)
        z, log_slope = self.scalar.forward(columns, params)  # eq. 1
        return Mapped(z.T, log_slope.sum(0))

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """Base to data (eq. 2)."""
        x = self.sweeps(z, context).x if self.solve == "jacobi" else self._in_order(z, context)
        return Mapped(x, -self.forward(x, context).log_det)

    def sweeps(self, z: Data, context: Context | None = None) -> Sweeps:
        """The fixed point of eq. 2 for each row, and how many sweeps the slowest row took."""
        dim = z.shape[-1]

        def sweep(at: Sweeps) -> Sweeps:
            new = self._sweep(at.x, z, context)
            change = jnp.abs(new - at.x) <= ROUNDING * jnp.finfo(z.dtype).eps * jnp.maximum(jnp.abs(new), 1)
            return Sweeps(jnp.where(at.done[:, None], at.x, new), at.done | change.all(-1), at.n_sweeps + 1)

        start = Sweeps(z, jnp.zeros(len(z), bool), jnp.zeros((), jnp.int32))
        return jax.lax.while_loop(lambda at: (at.n_sweeps < dim) & ~at.done.all(), sweep, start)

    def _in_order(self, z: Data, context: Context | None) -> Data:
        """The fixed point of eq. 2, one number a sweep."""

        def settle(x: Data, i: Int[Array, ""]) -> tuple[Data, None]:
            here = jnp.arange(z.shape[-1]) == i
            return jnp.where(here, self._sweep(x, z, context), x), None

        return jax.lax.scan(settle, jnp.zeros_like(z), jnp.arange(z.shape[-1]))[0]

    def _sweep(self, x: Data, z: Data, context: Context | None) -> Data:
        """T⁻¹(z; θ(x, c)) (eq. 2)."""
        return self.scalar.inverse(z.T, as_precise(self.made(x, context), z.T)).value.T  # eq. 2
