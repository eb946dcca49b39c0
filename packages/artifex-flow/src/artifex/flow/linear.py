"""Linear maps: the order of the numbers, their scale, and how they mix.

    Reverse    zᵢ = x_{D+1−i}                                            log |det| = 0                            (1)
    Permute    zᵢ = x_{π(i)}, π ≠ 1 drawn once                           log |det| = 0                            (2)
    LULinear   z = L U x + b, L with a unit diagonal                     log |det| = Σ log Uᵢᵢ                    (3)
               Uᵢᵢ = m + softplus(ûᵢ + log(e^{1−m} − 1)) > 0
    ActNorm    z = e^{s + s₀} (x + b + b₀)                               log |det| = Σ (s + s₀)ᵢ                  (4)
In (4) s₀ and b₀ give each number of the first batch mean 0 and variance 1; s and b are learned. s₀ = b₀ = 0 until then,
so that an untrained map is sound too.

References:
    [1] Kingma & Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, 2018, arXiv:1807.03039
    [2] Durkan et al., Neural Spline Flows, 2019, arXiv:1906.04032
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.nn.init import draw, zeros
from artifex.flow.bijector import Context, Data, Event, Fast, FromData, Mapped, PerRow

Square = Float[Array, "dim dim"]
MINIMUM = 1e-3  # m: a smaller diagonal makes the inverse lose digits
OFFSET = math.log(math.expm1(1 - MINIMUM))  # softplus of it is 1 − m


class Order(nnx.Variable):
    """A permutation that was drawn when the model was built, and stays."""


class Reverse(nnx.Module):
    """The numbers in the opposite order (eq. 1)."""

    def __init__(self, dim: int) -> None:
        self.event_shape: Event = (dim,)
        self.fast: Fast = "both"

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """Data to base (eq. 1)."""
        return Mapped(x.T[::-1].T, jnp.zeros(len(x), x.dtype))

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """Base to data."""
        return self.forward(z)


class Permute(nnx.Module):
    """The numbers in an order drawn at random (eq. 2)."""

    def __init__(self, dim: int, *, rngs: nnx.Rngs) -> None:
        self.event_shape: Event = (dim,)
        self.fast: Fast = "both"
        order = jnp.argsort(draw(rngs.params(), "uniform", (dim,), jnp.dtype("float32")))
        # Two numbers would stay in place every other time, and layers would move the same one again.
        self.order = Order(jnp.where((order == jnp.arange(dim)).all(), order[::-1], order))

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """Data to base (eq. 2)."""
        return Mapped(x.T[self.order[...]].T, jnp.zeros(len(x), x.dtype))

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """Base to data."""
        return Mapped(z.T[jnp.argsort(self.order[...])].T, jnp.zeros(len(z), z.dtype))


class LULinear(nnx.Module):
    """An invertible matrix through its triangular factors, the identity at the start (eq. 3)."""

    def __init__(self, dim: int, *, rngs: nnx.Rngs) -> None:
        self.event_shape: Event = (dim,)
        self.fast: Fast = "both"
        self.dtype: Any = None  # nnx's switch: what the product is computed in
        self.factors = nnx.Param(zeros(rngs.params(), (dim, dim)))  # below, on and above the diagonal: L, û and U
        self.bias = nnx.Param(zeros(rngs.params(), (dim,)))

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """Data to base (eq. 3)."""
        dtype = self.dtype or jnp.result_type(x, self.bias[...])
        matrix = self.lower().astype(dtype) @ self.upper().astype(dtype)
        return Mapped((matrix @ x.T.astype(dtype)).T + self.bias[...], self._log_det(x))  # eq. 3

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """Base to data, by two triangular systems."""
        solve = jax.scipy.linalg.solve_triangular
        y = solve(self.lower(), (z - self.bias[...]).T, lower=True, unit_diagonal=True)
        return Mapped(solve(self.upper(), y).T, -self._log_det(z))

    def lower(self) -> Square:
        """L."""
        return jnp.tril(self.factors[...], -1) + jnp.eye(len(self.bias), dtype=self.bias.dtype)

    def upper(self) -> Square:
        """U."""
        return jnp.triu(self.factors[...], 1) + jnp.diag(self._scale())

    def _scale(self) -> Float[Array, " dim"]:
        return MINIMUM + jax.nn.softplus(jnp.diagonal(self.factors[...]) + OFFSET)

    def _log_det(self, x: Data) -> PerRow:
        return jnp.broadcast_to(jnp.log(self._scale()).sum(), (len(x),))


class ActNorm(nnx.Module):
    """A scale and a shift of each channel, which the first batch sets (eq. 4)."""

    def __init__(self, event_shape: Event, *, rngs: nnx.Rngs) -> None:
        self.event_shape = event_shape
        self.fast: Fast = "both"
        channel = (event_shape[-1],)
        self.log_scale = nnx.Param(zeros(rngs.params(), channel))  # s
        self.shift = nnx.Param(zeros(rngs.params(), channel))  # b
        self.first_log_scale = FromData(zeros(rngs.params(), channel))  # s₀
        self.first_shift = FromData(zeros(rngs.params(), channel))  # b₀

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """Data to base (eq. 4)."""
        return Mapped(jnp.exp(self._log_scale()) * (x + self._shift()), self._log_det(x))  # eq. 4

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """Base to data."""
        return Mapped(jnp.exp(-self._log_scale()) * z - self._shift(), -self._log_det(z))

    def initialise(self, x: Data, context: Context | None, weight: PerRow) -> Data:
        """z of mean 0 and variance 1 in each channel, over the rows that count."""
        axes = tuple(range(x.ndim - 1))
        share = jnp.broadcast_to((weight / weight.sum()).reshape(-1, *[1] * (x.ndim - 1)), x.shape)
        share = share * x.shape[-1] / math.prod(x.shape[1:])
        # A row of padding may hold NaN.
        x = jnp.where(share > 0, x, 0)
        mean = (share * x).sum(axes)
        variance = (share * (x - mean) ** 2).sum(axes)
        self.first_shift[...] = -mean
        self.first_log_scale[...] = -0.5 * jnp.log(variance + 1e-12)  # a constant channel has variance 0
        return self.forward(x).value

    def _log_scale(self) -> Float[Array, " channel"]:
        return self.log_scale[...] + self.first_log_scale[...]

    def _shift(self) -> Float[Array, " channel"]:
        return self.shift[...] + self.first_shift[...]

    def _log_det(self, x: Data) -> PerRow:
        pixels = math.prod(self.event_shape[:-1])
        return jnp.broadcast_to(pixels * self._log_scale().sum(), (len(x),))
