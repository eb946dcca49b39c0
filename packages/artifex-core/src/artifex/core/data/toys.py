"""Points in the plane with known densities.

Mixture       p(x) = 1/K Σ_k N(x; m_k, s² I)                                                                     (1)
Checkerboard  p(x) = 1/32 on eight of sixteen squares of side 2                 entropy log 32                   (2)
Banana        x₁ ~ N(0, 2²),  x₂ | x₁ ~ N(x₁²/4 − 1, ½²)                        entropy 1 + log 2π               (3)
Funnel [1]    v ~ N(0, 3/2²), u | v ~ N(0, eᵛ)                                  entropy 1 + log 2π + log 3/2     (4)

Rings and moons are mixtures too: 512 narrow Gaussians along the curve, at most 0.6 s apart, so that their sum is smooth
and is exactly what the samples are drawn from.

References:
    [1] Neal, Slice sampling, Annals of Statistics 2003, doi:10.1214/aos/1056562461
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from artifex.core.data.source import ArraySource
from artifex.core.data.spec import DataSpec
from artifex.core.data.split import check_split
from artifex.core.errors import ConfigError

Points = Float[np.ndarray, "row 2"]
LogDensity = Float[np.ndarray, " row"]
LOG_2PI = math.log(2 * math.pi)
ON_CURVE = 512  # Gaussians along a curve
BLOCK = 4096  # rows times centres stay within some 20 MB
FINE = 2**19  # numbers per unit on the checkerboard: each one, and its square's edge, is a float32


class Toy(NamedTuple):
    """A density in the plane."""

    draw: Callable[[np.random.Generator, int], Points]
    log_prob: Callable[[Points], LogDensity]  # nats, float64
    entropy: float | None = None  # nats, where it has a closed form
    bounds: tuple[float, float] | None = None  # of both coordinates

    def sample(self, n: int, seed: int | tuple[int, ...] = 0) -> Points:
        """n exact samples, float32."""
        return self.draw(np.random.default_rng(seed), n).astype(np.float32)


def mixture(centres: Points, std: float, entropy: float | None = None) -> Toy:
    """Equal Gaussians around the centres (eq. 1)."""

    def draw(rng: np.random.Generator, n: int) -> Points:
        return centres[rng.integers(len(centres), size=n)] + std * rng.standard_normal((n, 2))

    def log_prob(x: Points) -> LogDensity:
        blocks = np.array_split(np.asarray(x, float), math.ceil(len(x) / BLOCK))
        return np.concatenate([log_mixture(block, centres, std) for block in blocks])

    return Toy(draw, log_prob, entropy)


def log_mixture(x: Points, centres: Float[np.ndarray, "centre 2"], std: float) -> LogDensity:
    """log p(x) of equal Gaussians (eq. 1)."""
    squares = ((x[:, None, 0] - centres[:, 0]) ** 2 + (x[:, None, 1] - centres[:, 1]) ** 2) / std**2
    nearest = squares.min(1)
    near = np.exp(-0.5 * (squares - nearest[:, None])).mean(1)  # relative to the nearest: no underflow
    return np.log(near) - 0.5 * nearest - LOG_2PI - 2 * math.log(std)


def log_normal(x: np.ndarray, std: np.ndarray | float) -> np.ndarray:
    """log N(x; 0, std²)."""
    return -0.5 * (x / std) ** 2 - np.log(std) - 0.5 * LOG_2PI


def circle(t: Float[np.ndarray, " row"], radius: float) -> Points:
    """Points of a circle, once around for t from 0 to 1."""
    return radius * np.stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], -1)


def grid_centres() -> Points:
    """The 5 × 5 points of {−4, −2, 0, 2, 4}²."""
    axis = np.arange(-4.0, 5.0, 2.0)
    return np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)


def ring_centres() -> Points:
    """Points of two circles, of radius 1 and 2."""
    t = (np.arange(ON_CURVE // 2) + 0.5) / (ON_CURVE // 2)
    return np.concatenate([circle(t, 1.0), circle(t, 2.0)])


def moon_centres() -> Points:
    """Points of two half circles that reach into each other."""
    angle = np.pi * (np.arange(ON_CURVE // 2) + 0.5) / (ON_CURVE // 2)
    upper = np.stack([np.cos(angle), np.sin(angle)], -1)
    return np.concatenate([upper, [1.0, 0.5] - upper])


def draw_board(rng: np.random.Generator, n: int) -> Points:
    """Uniform points on the squares of a checkerboard (eq. 2)."""
    row = rng.integers(4, size=n)
    column = 2 * rng.integers(2, size=n) + row % 2
    within = (rng.integers(2 * FINE, size=(n, 2)) + 0.5) / FINE  # in (0, 2), never rounded onto an edge
    return 2.0 * np.stack([column, row], -1) - 4 + within


def log_board(x: Points) -> LogDensity:
    """log p(x) on the checkerboard (eq. 2)."""
    cell = np.floor((np.asarray(x, float) + 4) / 2)
    inside = ((cell >= 0) & (cell < 4)).all(-1) & (cell.sum(-1) % 2 == 0)
    return np.where(inside, -math.log(32), -np.inf)


def draw_banana(rng: np.random.Generator, n: int) -> Points:
    """Points of the banana (eq. 3)."""
    eps = rng.standard_normal((n, 2))
    return np.stack([2 * eps[:, 0], eps[:, 0] ** 2 - 1 + 0.5 * eps[:, 1]], -1)


def log_banana(x: Points) -> LogDensity:
    """log p(x) of the banana (eq. 3)."""
    x1, x2 = np.asarray(x, float).T
    return log_normal(x1, 2.0) + log_normal(x2 - (x1**2 / 4 - 1), 0.5)


def draw_funnel(rng: np.random.Generator, n: int) -> Points:
    """Points (v, u) of the funnel (eq. 4)."""
    eps = rng.standard_normal((n, 2))
    return np.stack([1.5 * eps[:, 0], np.exp(0.75 * eps[:, 0]) * eps[:, 1]], -1)


def log_funnel(x: Points) -> LogDensity:
    """log p(x) of the funnel (eq. 4)."""
    v, u = np.asarray(x, float).T
    return log_normal(v, 1.5) + log_normal(u, np.exp(v / 2))


TOYS = {
    "eight_gaussians": mixture(circle(np.arange(8) / 8, 2.0), 0.2),
    # Centres lie 40 s apart: the entropy is that of the choice plus that of one Gaussian, to 80 digits.
    "twenty_five_gaussians": mixture(grid_centres(), 0.05, math.log(25) + 1 + LOG_2PI + 2 * math.log(0.05)),
    "rings": mixture(ring_centres(), 0.08),
    "two_moons": mixture(moon_centres(), 0.08),
    "checkerboard": Toy(draw_board, log_board, math.log(32), (-4.0, 4.0)),
    "banana": Toy(draw_banana, log_banana, 1 + LOG_2PI),  # log 2 + log ½ = 0
    "funnel": Toy(draw_funnel, log_funnel, 1 + LOG_2PI + math.log(1.5)),  # E v/2 = 0
}


def _loader(name: str) -> Callable[..., ArraySource]:
    toy = TOYS[name]
    low, high = toy.bounds or (None, None)

    def load(split: str = "train", *, n: int = 10_000, seed: int = 0) -> ArraySource:
        check_split(name, split, ("train", "test"))
        if n < 1:
            raise ConfigError(f"{name}: expected n >= 1 points, got {n}. Set data.n.")
        x = toy.sample(n, (seed, split == "test"))
        return ArraySource({"x": x}, DataSpec(shape=(2,), low=low, high=high), name=name)

    load.__name__ = name
    load.__doc__ = f"n points of the toy density {name!r}; the test split has noise of its own."
    return load


eight_gaussians = _loader("eight_gaussians")
twenty_five_gaussians = _loader("twenty_five_gaussians")
rings = _loader("rings")
two_moons = _loader("two_moons")
checkerboard = _loader("checkerboard")
banana = _loader("banana")
funnel = _loader("funnel")
