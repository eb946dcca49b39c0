"""Distances between distributions, from moments and from samples.

    FD²   = ‖μ₁ − μ₂‖² + Tr(S₁ + S₂ − 2 (S₁ S₂)^½)                                                               (1)
    Tr (S₁ S₂)^½ = Σ √max(0, λ(R S₂ R)),   R = S₁^½                                                              (2)
    MMD²  = 1/(n(n−1)) Σ_{i≠j} k(xᵢ, xⱼ) + 1/(m(m−1)) Σ_{i≠j} k(yᵢ, yⱼ) − 2/(nm) Σ k(xᵢ, yⱼ)     unbiased        (3)
    energy = 2 E‖x − y‖ − E‖x − x′‖ − E‖y − y′‖                                                                  (4)
All in float64 on the host: the root of (1) in float32 is wrong in the third digit.

References:
    [1] Dowson & Landau, The Fréchet distance between multivariate normal distributions, 1982
    [2] Gretton et al., A Kernel Two-Sample Test, 2012
    [3] Székely & Rizzo, Energy statistics, 2013
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "_ width"]
Kernel = Callable[[Points, Points], Float[np.ndarray, "a b"]]


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
    return float(((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * cross)


def cubic_kernel(x: Points, y: Points) -> Float[np.ndarray, "a b"]:
    """(x·y / d + 1)³."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def gaussian_kernel(x: Points, y: Points, *, bandwidth: float = 1.0) -> Float[np.ndarray, "a b"]:
    """exp(−‖x − y‖² / 2h²)."""
    return np.exp(-0.5 * distances(x, y) ** 2 / bandwidth**2)


def inverse_multiquadratic_kernel(x: Points, y: Points, *, scale: float = 1.0) -> Float[np.ndarray, "a b"]:
    """C / (C + ‖x − y‖²), C = 2 d scale²."""
    c = 2 * x.shape[1] * scale**2
    return c / (c + distances(x, y) ** 2)


def mmd(x: Points, y: Points, kernel: Kernel = cubic_kernel) -> float:
    """Unbiased squared MMD (eq. 3)."""
    n, m = len(x), len(y)
    kxx, kyy, kxy = kernel(x, x), kernel(y, y), kernel(x, y)
    within = (kxx.sum() - np.trace(kxx)) / (n * (n - 1)) + (kyy.sum() - np.trace(kyy)) / (m * (m - 1))
    return float(within - 2 * kxy.mean())


def energy_distance(x: Points, y: Points) -> float:
    """Energy distance, unbiased (eq. 4)."""
    n, m = len(x), len(y)
    within = distances(x, x).sum() / (n * (n - 1)) + distances(y, y).sum() / (m * (m - 1))
    return float(2 * distances(x, y).mean() - within)


def distances(x: Points, y: Points) -> Float[np.ndarray, "a b"]:
    """Euclidean distances of all pairs, from differences of squares; exact zeros on equal rows."""
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    # The difference of large squares leaves rounding errors where rows are equal.
    scale = np.finfo(squares.dtype).eps * 8 * ((x**2).sum(1)[:, None] + (y**2).sum(1)[None])
    return np.sqrt(np.where(squares > scale, squares, 0))
