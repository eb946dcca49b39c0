"""Monotone rational-quadratic splines.

    B                       half the side of the box [−B, B]², K bins
    w_k, h_k                width and height of bin k,   w = 2B (m + (1 − mK) softmax ŵ), and h alike              (1)
    δ_k                     slope at knot k,             δ = m + softplus(δ̂ + log(e^{1−m} − 1))                   (2)
    x_k, y_k                its lower left corner, the sums of the widths and heights before it, minus B
    ξ = (x − x_k)/w_k,      s = h_k/w_k,      D = δ_k + δ_{k+1} − 2s
In the bin of x,
    z     = y_k + h_k (s ξ² + δ_k ξ(1−ξ)) / (s + D ξ(1−ξ)),                                                      (3)
    dz/dx = s² (δ_{k+1} ξ² + 2s ξ(1−ξ) + δ_k (1−ξ)²) / (s + D ξ(1−ξ))²,                                          (4)
and with t = (z − y_k)/h_k the inverse is the root in [0, 1] of (s − δ_k + tD) ξ² + (δ_k − tD) ξ − st = 0,
    ξ     = 2st / (b + √(b² + 4ast)),    a = s − δ_k + tD,  b = δ_k − tD.                                        (5)
Outside the box z = x, and the slopes of the outermost knots are 1; on a circle they are one free slope [2]. Numbers
ŵ, ĥ, δ̂ of zero give the identity. They stand along the first axis, before the axes of x: what the compiler then adds
up over bins are whole rows, several times faster than numbers side by side.

References:
    [1] Durkan et al., Neural Spline Flows, 2019, arXiv:1906.04032
    [2] Rezende et al., Normalizing Flows on Tori and Spheres, 2020, arXiv:2002.02428
    [3] Gregory & Delbourgo, Piecewise rational quadratic interpolation to monotonic data, 1982
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Numbers = Float[Array, "*shape"]
Params = Float[Array, "param *shape"]
Pair = Float[Array, "2 bin *shape"]


class Moved(NamedTuple):
    """What a map of one number gives, and the log of its slope in the direction called."""

    value: Numbers
    log_slope: Numbers


class ScalarMap(Protocol):
    """An increasing map of one number, with parameters along the first axis; parameters of zero are the start."""

    @property
    def n_params(self) -> int:
        """Numbers that describe one map."""
        ...

    def forward(self, x: Numbers, params: Params) -> Moved:
        """(z, log dz/dx)."""
        ...

    def inverse(self, z: Numbers, params: Params) -> Moved:
        """(x, log dx/dz)."""
        ...


class Bin(NamedTuple):
    """The bin in which a number lies."""

    left: Numbers  # x_k
    width: Numbers  # w_k
    bottom: Numbers  # y_k
    height: Numbers  # h_k
    slope: Numbers  # δ_k
    next_slope: Numbers  # δ_{k+1}


@dataclass(frozen=True)
class Spline:
    """A monotone rational-quadratic spline on [−B, B], by default the identity outside."""

    bins: int = 8
    bound: float = 3.0  # B
    circular: bool = False  # the ends are one point
    minimum: float = 1e-3  # m: least slope, and least width and height as a share of the box

    def __post_init__(self) -> None:
        if self.bins < 1 or self.bound <= 0 or not 0 < self.bins * self.minimum < 1:
            raise ValueError(
                "Spline: expected bins >= 1, bound > 0 and bins × minimum width < 1, got "
                f"{self.bins}, {self.bound} and {self.bins * self.minimum:g}. Use fewer bins or a smaller minimum."
            )

    @property
    def n_params(self) -> int:
        """Numbers that describe one spline."""
        return 3 * self.bins - (0 if self.circular else 1)

    def forward(self, x: Numbers, params: Params) -> Moved:
        """(z, log dz/dx), by eq. 3 and 4 within the box."""
        inside = jnp.abs(x) <= self.bound
        # On the input, not on the result: outside the box the formula has no sound gradient.
        safe = jnp.where(inside, x, 0)
        bin = self._bin(safe, params, side=0)
        xi = (safe - bin.left) / bin.width
        z = bin.bottom + bin.height * rise(bin, xi)
        return Moved(jnp.where(inside, z, x), jnp.where(inside, log_slope(bin, xi), 0))

    def inverse(self, z: Numbers, params: Params) -> Moved:
        """(x, log dx/dz), by eq. 5 within the box."""
        inside = jnp.abs(z) <= self.bound
        safe = jnp.where(inside, z, 0)
        bin = self._bin(safe, params, side=1)
        xi = unrise(bin, (safe - bin.bottom) / bin.height)
        x = bin.left + bin.width * xi
        return Moved(jnp.where(inside, x, z), jnp.where(inside, -log_slope(bin, xi), 0))

    def _bin(self, at: Numbers, params: Params, side: int) -> Bin:
        """The bin whose width (side 0) or height (side 1) covers `at`."""
        # Widths and heights together, and both slopes: half the operations to compile.
        sizes = self._sizes(params[: 2 * self.bins].reshape(2, self.bins, *at.shape))
        past = at >= jnp.cumsum(sizes[side, :-1], axis=0) - self.bound
        before = jnp.concatenate([past, jnp.zeros_like(past, shape=(1, *at.shape))])  # bins left of the one
        here = jnp.concatenate([jnp.ones_like(before[:1]), past]) & ~before
        left, bottom = pick(before, sizes) - self.bound
        width, height = pick(here, sizes)
        knots = self._raw_slopes(params[2 * self.bins :])
        slope, next_slope = self._slope(pick(here, jnp.stack([knots[:-1], knots[1:]])))
        return Bin(left, width, bottom, height, slope, next_slope)

    def _sizes(self, raw: Pair) -> Pair:
        """Widths and heights of all bins."""
        share = self.minimum + (1 - self.minimum * self.bins) * jax.nn.softmax(raw, axis=1)
        return 2 * self.bound * share  # eq. 1

    def _raw_slopes(self, raw: Float[Array, "inner *shape"]) -> Float[Array, "knot *shape"]:
        """δ̂ at all knots; at the ends 0, a slope of 1, or on a circle one number."""
        if self.circular:
            return jnp.concatenate([raw, raw[:1]])
        end = jnp.zeros_like(raw, shape=(1, *raw.shape[1:]))
        return jnp.concatenate([end, raw, end])

    def _slope(self, raw: Float[Array, "2 *shape"]) -> Float[Array, "2 *shape"]:
        """δ, at least `minimum`."""
        return self.minimum + jax.nn.softplus(raw + math.log(math.expm1(1 - self.minimum)))  # eq. 2


def as_precise(params: Params, x: Numbers) -> Params:
    """Parameters in the wider dtype of the two: in half precision a value and its slope would not agree."""
    return params.astype(jnp.promote_types(params.dtype, x.dtype))


def pick(chosen: Bool[Array, "bin *shape"], values: Pair) -> Float[Array, "2 *shape"]:
    """The sums of the chosen values of either kind."""
    # A sum under a mask, because a gather and its gradient run one number at a time on a CPU.
    return jnp.where(chosen, values, 0).sum(1)


def rise(bin: Bin, xi: Numbers) -> Numbers:
    """The share of the bin's height that is passed at the share ξ of its width."""
    s = bin.height / bin.width
    q = xi * (1 - xi)
    return (s * xi**2 + bin.slope * q) / (s + (bin.slope + bin.next_slope - 2 * s) * q)  # eq. 3


def unrise(bin: Bin, t: Numbers) -> Numbers:
    """ξ at the share t of the bin's height."""
    s = bin.height / bin.width
    bend = t * (bin.slope + bin.next_slope - 2 * s)
    a, b = s - bin.slope + bend, bin.slope - bend
    # This form of the root loses no digits where a is small.
    return 2 * s * t / (b + jnp.sqrt(jnp.maximum(b**2 + 4 * a * s * t, 0)))  # eq. 5


def log_slope(bin: Bin, xi: Numbers) -> Numbers:
    """log dz/dx at ξ."""
    s = bin.height / bin.width
    q = xi * (1 - xi)
    top = bin.next_slope * xi**2 + 2 * s * q + bin.slope * (1 - xi) ** 2  # eq. 4
    return jnp.log(top) + 2 * jnp.log(s / (s + (bin.slope + bin.next_slope - 2 * s) * q))
