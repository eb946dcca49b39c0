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

import functools
import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from artifex.flow.bijector import kept

Numbers = Float[Array, "*shape"]
Params = Float[Array, "param *shape"]
Index = Int[Array, "*shape"]


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
        # Split, not sliced: the gradient of a slice is as large as all parameters.
        sizes, slopes = jnp.split(params, [2 * self.bins])
        raw = sizes.reshape(2, self.bins, *at.shape)  # widths and heights together: half the operations to compile
        masses = jnp.exp(raw - jax.lax.stop_gradient(raw.max(1, keepdims=True)))
        totals = masses.sum(1)
        index = kept(self._index(at, *jax.lax.stop_gradient((masses[side], totals[side]))))
        # Taken apart at once: what is computed of two rows that stand in one array is not put into vectors.
        left, bottom = (self._length(index, share) - self.bound for share in kept(sum_below(index, masses)) / totals)
        bins = jnp.arange(self.bins)
        width, height = (self._length(1, share) for share in kept(pick(index, bins, masses)) / totals)
        knots = jnp.arange(0 if self.circular else 1, self.bins)  # the others have a slope of 1, a δ̂ of 0
        ends = (index, (index + 1) % self.bins)
        slope, next_slope = (self._slope(kept(pick(knot, knots, slopes))) for knot in ends)
        return Bin(left, width, bottom, height, slope, next_slope)

    def _index(self, at: Numbers, masses: Float[Array, "bin *shape"], total: Numbers) -> Index:
        """k, the number of bins that end at or before `at`."""
        # Sum by sum, because XLA's cumulative sum is slower on a CPU; times the total, to divide once less.
        below = jnp.stack([*itertools.accumulate(masses[:-1], initial=jnp.zeros_like(total))])
        starts = self._length(column(jnp.arange(self.bins), at) * total, below)
        return ((at + self.bound) * total >= starts).sum(0) - 1

    def _length(self, n_bins: Shaped[Array, "..."] | int, share: Float[Array, "..."]) -> Float[Array, "..."]:
        """The widths of n bins, whose softmax ŵ add up to a share (eq. 1)."""
        return 2 * self.bound * (self.minimum * n_bins + (1 - self.minimum * self.bins) * share)  # eq. 1

    def _slope(self, raw: Numbers) -> Numbers:
        """δ, at least `minimum`."""
        return self.minimum + jax.nn.softplus(raw + math.log(math.expm1(1 - self.minimum)))  # eq. 2


def as_precise(params: Params, x: Numbers) -> Params:
    """Parameters in the wider dtype of the two: in half precision a value and its slope would not agree."""
    return params.astype(jnp.promote_types(params.dtype, x.dtype))


# Sums under a mask, because a gather and its gradient run one number at a time on a CPU. The gradient makes the mask
# again: a loop over layers would keep one of each, as large as the parameters.
again = functools.partial(jax.checkpoint, prevent_cse=False)


@again
def pick(index: Index, bins: Int[Array, " bin"], values: Float[Array, "..."]) -> Float[Array, "..."]:
    """The value, along the axis before those of the index, of the bin that it names; 0 if there is none."""
    return jnp.where(column(bins, index) == index, values, 0).sum(-1 - index.ndim)


@again
def sum_below(index: Index, values: Float[Array, "..."]) -> Float[Array, "..."]:
    """The sum of the values of the bins before the index."""
    bins = jnp.arange(values.shape[-1 - index.ndim])
    return jnp.where(column(bins, index) < index, values, 0).sum(-1 - index.ndim)


def column(bins: Int[Array, " bin"], like: Shaped[Array, "*shape"]) -> Int[Array, "bin *ones"]:
    """Bins along an axis before those of another array."""
    return bins.reshape(-1, *[1] * like.ndim)


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
