"""Distances between distributions, from moments and from samples.

    FD²   = ‖μ₁ − μ₂‖² + Tr(S₁ + S₂ − 2 (S₁ S₂)^½)                                                               (1)
    Tr (S₁ S₂)^½ = Σ √max(0, λ(R S₂ R)),   R = S₁^½                                                              (2)
    MMD²  = mean k(xᵢ, xⱼ) + mean k(yᵢ, yⱼ) − 2 mean k(xᵢ, yⱼ)                                                   (3)
    energy = 2 mean ‖xᵢ − yⱼ‖ − mean ‖xᵢ − xⱼ‖ − mean ‖yᵢ − yⱼ‖                                                  (4)
Within a set the mean is over i ≠ j, which has no bias, or over all i and j, which is never negative and is 0 for equal
sets. All in float64 on the host: the root of (1) in float32 is wrong in the third digit.

References:
    [1] Dowson & Landau, The Fréchet distance between multivariate normal distributions, 1982
    [2] Gretton et al., A Kernel Two-Sample Test, 2012
    [3] Székely & Rizzo, Energy statistics, 2013
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

X = Float[np.ndarray, "a width"]
Y = Float[np.ndarray, "b width"]
Pairs = Float[np.ndarray, "a b"]
Square = Float[np.ndarray, "a a"]
Kernel = Callable[[X, Y], Pairs]


def frechet(
    mean1: Float[np.ndarray, " d"],
    cov1: Float[np.ndarray, "d d"],
    mean2: Float[np.ndarray, " d"],
    cov2: Float[np.ndarray, "d d"],
) -> float:
    """The squared Fréchet distance of two Gaussians (eq. 1, 2)."""
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov2 @ root), 0)).sum()
    squared = ((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * cross
    return max(0.0, float(squared))  # equal Gaussians may round to just below


def cubic_kernel(x: X, y: Y) -> Pairs:
    """(x·y / d + 1)³."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def gaussian_kernel(x: X, y: Y, *, bandwidth: float = 1.0) -> Pairs:
    """exp(−‖x − y‖² / 2h²)."""
    return np.exp(-0.5 * distances(x, y) ** 2 / bandwidth**2)


def inverse_multiquadratic_kernel(x: X, y: Y, *, scale: float = 1.0) -> Pairs:
    """C / (C + ‖x − y‖²), C = 2 d scale²."""
    c = 2 * x.shape[1] * scale**2
    return c / (c + distances(x, y) ** 2)


def mmd(x: X, y: Y, kernel: Kernel = cubic_kernel, *, unbiased: bool = True) -> float:
    """Squared MMD (eq. 3)."""
    return gap(kernel(x, x), kernel(y, y), kernel(x, y), unbiased=unbiased)


def energy_distance(x: X, y: Y, *, unbiased: bool = True) -> float:
    """Energy distance (eq. 4)."""
    return -gap(distances(x, x), distances(y, y), distances(x, y), unbiased=unbiased)


def gap(xx: Square, yy: Float[np.ndarray, "b b"], xy: Pairs, *, unbiased: bool = True) -> float:
    """Mean within x, plus mean within y, minus twice the mean across, of a function of pairs (eq. 3, 4)."""
    return within(xx, unbiased) + within(yy, unbiased) - 2 * float(xy.mean())


def within(pairs: Square, unbiased: bool) -> float:
    """The mean over pairs of one set, without those of a row with itself where `unbiased`."""
    n = len(pairs)
    return float(pairs.sum() - np.trace(pairs)) / (n * (n - 1)) if unbiased else float(pairs.mean())


def distances(x: X, y: Y) -> Pairs:
    """Euclidean distances of all pairs; exact zeros on equal rows."""
    centre = x.mean(0)  # what both sets share would only cost digits
    x, y = x - centre, y - centre
    scale = (x**2).sum(1)[:, None] + (y**2).sum(1)
    squares = scale - 2 * x @ y.T
    # The difference of large squares leaves rounding errors where rows are equal.
    return np.sqrt(np.where(squares > 8 * np.finfo(np.float64).eps * scale, squares, 0))
