"""Points in the plane with known densities.

Mixtures      p(x) = 1/K Σ_k N(x; m_k, s² I)                                                                     (1)
Curves        p(x) = ∫ N(x; c(t), s² I) dt,   t ~ U(0, 1), by the midpoint rule on a grid finer than s           (2)
Checkerboard  p(x) = 1/32 on eight of sixteen squares of side 2;  entropy log 32                                 (3)
Banana        x₁ ~ N(0, 2²), x₂ | x₁ ~ N(x₁²/4 − 1, ½²)                                                          (4)
Funnel        v ~ N(0, 1.5²), u | v ~ N(0, eᵛ)        [Neal, Slice sampling, 2003]                               (5)

Each toy samples exactly and gives log p in nats; the entropies of (3) to (5) are closed forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from artifex.core.data.source import ArraySource
from artifex.core.data.spec import DataSpec
from artifex.core.errors import ConfigError

Points = Float[np.ndarray, "row 2"]
LOG_2PI = math.log(2 * math.pi)
HALF_ENTROPY = 0.5 * (1 + LOG_2PI)  # of a standard normal number
GRID = 2000  # points of a curve, at most 0.01 apart where the noise is 0.08


class Toy(NamedTuple):
    """A density in the plane."""

    sample: Callable[[np.random.Generator, int], Points]
    log_prob: Callable[[Points], Float[np.ndarray, " row"]]
    entropy: float | None = None  # nats, where it has a closed form


def mixture(centres: Points, std: float) -> Toy:
    """Equal Gaussians around the centres (eq. 1)."""

    def sample(rng: np.random.Generator, n: int) -> Points:
        return centres[rng.integers(len(centres), size=n)] + std * rng.standard_normal((n, 2))

    def log_prob(x: Points) -> Float[np.ndarray, " row"]:
        squares = ((x[:, None, :] - centres[None]) ** 2).sum(-1)
        logits = -0.5 * squares / std**2
        top = logits.max(1)
        mean = np.exp(logits - top[:, None]).mean(1)
        return top + np.log(mean) - LOG_2PI - 2 * math.log(std)

    return Toy(sample, log_prob)


def curve(points: Callable[[np.ndarray], Points], std: float) -> Toy:
    """Gaussian noise around a curve that is run through at equal speed in t (eq. 2)."""
    on_grid = mixture(points((np.arange(GRID) + 0.5) / GRID), std)

    def sample(rng: np.random.Generator, n: int) -> Points:
        return points(rng.random(n)) + std * rng.standard_normal((n, 2))

    return Toy(sample, on_grid.log_prob)


def _circle(t: np.ndarray, radius: float) -> Points:
    return radius * np.stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], -1)


def _rings(t: np.ndarray) -> Points:
    half = t < 0.5
    return np.where(half[:, None], _circle(2 * t, 1.0), _circle(2 * t, 2.0))


def _moons(t: np.ndarray) -> Points:
    angle = np.pi * (2 * t % 1)
    upper = np.stack([np.cos(angle), np.sin(angle)], -1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], -1)
    return np.where((t < 0.5)[:, None], upper, lower)


def _board_sample(rng: np.random.Generator, n: int) -> Points:
    row = rng.integers(4, size=n)
    column = 2 * rng.integers(2, size=n) + row % 2
    return 2 * (np.stack([column, row], -1) + rng.random((n, 2))) - 4


def _board_log_prob(x: Points) -> Float[np.ndarray, " row"]:
    cell = np.floor((x + 4) / 2)
    inside = ((cell >= 0) & (cell < 4)).all(-1) & (cell.sum(-1) % 2 == 0)
    return np.where(inside, -math.log(32), -np.inf)


def _normal(x: np.ndarray, std: np.ndarray | float) -> np.ndarray:
    return -0.5 * (x / std) ** 2 - np.log(std) - 0.5 * LOG_2PI


def _banana_sample(rng: np.random.Generator, n: int) -> Points:
    e = rng.standard_normal((n, 2))
    return np.stack([2 * e[:, 0], e[:, 0] ** 2 - 1 + 0.5 * e[:, 1]], -1)


def _funnel_sample(rng: np.random.Generator, n: int) -> Points:
    e = rng.standard_normal((n, 2))
    return np.stack([1.5 * e[:, 0], np.exp(0.75 * e[:, 0]) * e[:, 1]], -1)


_eight = _circle(np.arange(8) / 8, 2.0)
_grid = np.stack(np.meshgrid(np.arange(-4, 5, 2), np.arange(-4, 5, 2)), -1).reshape(-1, 2).astype(float)

TOYS = {
    "eight_gaussians": mixture(_eight, 0.2),
    "twenty_five_gaussians": mixture(_grid, 0.05),
    "rings": curve(_rings, 0.08),
    "two_moons": curve(_moons, 0.08),
    "checkerboard": Toy(_board_sample, _board_log_prob, math.log(32)),
    "banana": Toy(
        _banana_sample,
        lambda x: _normal(x[:, 0], 2.0) + _normal(x[:, 1] - (x[:, 0] ** 2 / 4 - 1), 0.5),
        2 * HALF_ENTROPY + math.log(2.0) + math.log(0.5),
    ),
    "funnel": Toy(
        _funnel_sample,
        lambda x: _normal(x[:, 0], 1.5) + _normal(x[:, 1], np.exp(0.5 * x[:, 0])),
        2 * HALF_ENTROPY + math.log(1.5),  # E log eᵛᐟ² = 0
    ),
}


def _loader(name: str) -> Callable[..., ArraySource]:
    def load(split: str = "train", *, n: int = 10_000, seed: int = 0) -> ArraySource:
        if split not in ("train", "test"):
            raise ConfigError(f"{name}: expected the split train or test, got {split!r}.")
        rng = np.random.default_rng((seed, split == "test"))
        return ArraySource({"x": TOYS[name].sample(rng, n).astype(np.float32)}, DataSpec(shape=(2,)), name=name)

    load.__name__ = name
    load.__doc__ = f"Points of the toy density {name!r}; the test split has noise of its own."
    return load


eight_gaussians = _loader("eight_gaussians")
twenty_five_gaussians = _loader("twenty_five_gaussians")
rings = _loader("rings")
two_moons = _loader("two_moons")
checkerboard = _loader("checkerboard")
banana = _loader("banana")
funnel = _loader("funnel")
