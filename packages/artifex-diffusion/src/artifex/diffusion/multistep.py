"""Multistep solvers: what the last calls of the network said, extrapolated.

With the next place (α', σ', λ'), λ = log(α/σ), h = λ' − λ, e = exp(−h), ρ = σ/α, and D and ε as in `solver`,
    x'/σ' = x/σ + ∫ exp(λ) D dλ,      x'/α' = x/α + ∫ ε dρ                                                       (1)
    DPM-Solver++ 2M [1]   x' = (σ'/σ) x + α'(1 − e)(D₀ + (D₀ − D₁)/2r),   r = h₁/h                               (2)
    DPM-Solver++ 3M       (1) with the parabola through D₀, D₁, D₂ in λ                                          (3)
    SDE-DPM-Solver++      (2) with e² in place of e in the sum, and noise σ' √(1 − e²)                           (4)
    DEIS [2]              (1) with the polynomial through ε₀, ε₁ … in log ρ                                      (5)
    LMS                   (1) with the polynomial through ε₀, ε₁ … in ρ                                          (6)
    UniPC [3]             Σ_k w_k (D_k − D₀)/r_k with weights from Σ_k w_k r_kʲ⁻¹ = b_j, then corrected by D'     (7)
    DPM-Solver++ 2S, 3S   (1) over two or three steps, with D at the places on the way                           (8)
    PNDM [4]              ε by Adams-Bashforth weights of even steps, on DDIM's step                             (9)

Differs: order 3 of DPM-Solver++ integrates the parabola in full; widespread code takes half of its last term, and
measures order 2. The stages of 3S are weighted for the places that the grid has, where [1] has them at thirds of the
step; between thirds both are of order 3. The step onto σ = 0 is of first order, where h is infinite.

References:
    [1] Lu et al., DPM-Solver++, 2022, arXiv:2211.01095
    [2] Zhang & Chen, Fast Sampling of Diffusion Models with Exponential Integrator, 2023, arXiv:2204.13902
    [3] Zhao et al., UniPC, 2023, arXiv:2302.04867
    [4] Liu et al., Pseudo Numerical Methods for Diffusion Models on Manifolds, 2022, arXiv:2202.09778
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from artifex.core.config import Config
from artifex.diffusion.grid import Grid
from artifex.diffusion.solver import (
    Column,
    Linear,
    Rows,
    data_rows,
    decay,
    half_log_snr,
    noise_rows,
    noise_transfer,
    refuse_no_signal,
)

FEW = 15  # with fewer steps than this, the last ones extrapolate too far
Nodes = Float[np.ndarray, " place"]
Weights = Float[np.ndarray, " value"]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)
FAR_NODES, FAR_WEIGHTS = np.polynomial.laguerre.laggauss(8)  # exact for the polynomials here


@dataclass(frozen=True, kw_only=True)
class DPMSolver(Linear, Config, tag="dpm_solver_pp"):
    """DPM-Solver++ [1]: multistep (eq. 2, 3), or singlestep over as many steps of the grid (eq. 8). Order as named.

    `stochastic` solves the reverse SDE instead, with noise (eq. 4), to order 2.
    """

    memory = 3
    order: int = 2
    singlestep: bool = False
    stochastic: bool = False

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        check_order("DPMSolver", self.order, 2 if self.stochastic else 3)
        if self.singlestep and self.stochastic:
            raise ValueError("DPMSolver: expected one of 'singlestep' and 'stochastic', got both. Drop one.")

    def coefficients(self, grid: Grid) -> Rows:
        """Rows in data form."""
        if self.singlestep:
            return singlestep_rows(grid, self.order)
        if self.stochastic:
            return sde_rows(grid, self.order)
        weights = np.zeros((grid.n, 3))
        for i, order in enumerate(data_orders(grid, self.order)):
            weights[i, :order] = (two_step if order == 2 else data_weights)(grid, i, order)
        return data_rows(grid, kept(grid), weights)


@dataclass(frozen=True, kw_only=True)
class UniPC(Linear, Config, tag="unipc"):
    """A predictor and, from the same call, a corrector of one order more (eq. 7) [3]. Measured order: order + 1."""

    memory = 4
    order: int = 2
    variant: Literal["bh1", "bh2"] = "bh2"  # B(h) = h, or eʰ − 1
    corrector: bool = True

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        check_order("UniPC", self.order, 3)

    def coefficients(self, grid: Grid) -> Rows:
        """Rows of the corrector of the last step and the predictor of the next."""
        weights, scale = np.zeros((grid.n, 4)), kept(grid)
        orders = data_orders(grid, self.order)
        for i, order in enumerate(orders):
            weights[i, :order] += unified(grid, i, order, self.variant).predictor
            if i and self.corrector:
                before = unified(grid, i - 1, orders[i - 1], self.variant)
                change = before.corrector.copy()
                change[1:] -= before.predictor
                weights[i, : len(change)] += scale[i] * change
        return data_rows(grid, scale, weights)


@dataclass(frozen=True, kw_only=True)
class DEIS(Linear, Config, tag="deis"):
    """Exponential integrator with noise extrapolated in log ρ (eq. 5) [2]. Order as named."""

    memory = 3
    order: int = 2

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        check_order("DEIS", self.order, 3)

    def coefficients(self, grid: Grid) -> Rows:
        """Rows in noise form."""
        refuse_no_signal("deis", grid)
        weights = np.zeros((grid.n, 3))
        orders = ramp(grid, self.order)
        for i in range(grid.n):
            order = min(orders[i], grid.n - i) if grid.n < FEW else orders[i]
            weights[i, :order] = noise_weights(grid, i, order)
        return noise_rows(grid, weights)


@dataclass(frozen=True, kw_only=True)
class LMS(Linear, Config, tag="lms"):
    """Adams-Bashforth on uneven steps of ρ (eq. 6). Order as named."""

    memory = 4
    order: int = 4

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        check_order("LMS", self.order, 4)

    def coefficients(self, grid: Grid) -> Rows:
        """Rows in noise form."""
        refuse_no_signal("lms", grid)
        ratio = grid.sigma / grid.alpha
        weights = np.zeros((grid.n, 4))
        for i, order in enumerate(ramp(grid, self.order)):
            s, w = interval(ratio[i], ratio[i + 1])
            weights[i, :order] = lagrange(ratio[i - order + 1 : i + 1][::-1], s) @ w  # eq. 6
        return noise_rows(grid, grid.alpha[1:, None] * weights)


@dataclass(frozen=True, kw_only=True)
class PNDM(Linear, Config, tag="pndm"):
    """Adams-Bashforth weights of even steps on DDIM's step (eq. 9) [4], started by one trapezoidal step. Order 2 here.

    The weights are those of equal steps whatever the grid, so the order is lost on an uneven one.
    """

    memory = 5

    def coefficients(self, grid: Grid) -> Rows:
        """Rows in noise form; the second call repeats the first step."""
        refuse_no_signal("pndm", grid)
        transfer = noise_transfer(grid)
        parts = np.zeros((grid.n + 1, 5))
        parts[0, 0] = 1
        parts[1, :2] = 0.5, -0.5  # the trapezoidal step, started from where the first call led
        # Its call is no value of the sequence: the places of its value stay 0.
        adams = ([1.5, 0, -0.5], [23 / 12, -16 / 12, 0, 5 / 12], [55 / 24, -59 / 24, 37 / 24, 0, -9 / 24])
        for i in range(2, grid.n + 1):
            row = adams[i - 2] if i < 5 else [55 / 24, -59 / 24, 37 / 24, -9 / 24]
            parts[i, : len(row)] = row
        if grid.n == 1:  # there is no second place to correct from
            return noise_rows(grid, transfer[:, None] * parts[:1])
        step = np.concatenate([[0, 0], np.arange(1, grid.n)])  # which step a row makes
        call = np.concatenate([[0, 1], np.arange(1, grid.n)])  # where it calls the network
        single = noise_rows(grid, transfer[:, None])
        scale = np.where(np.arange(grid.n + 1) == 1, 1, single.a[step])
        return Rows(grid.t[call], single.p[call], single.q[call], scale, transfer[step][:, None] * parts)


def kept(grid: Grid) -> Column:
    """σ'/σ of each step."""
    return grid.sigma[1:] / grid.sigma[:-1]


def ramp(grid: Grid, order: int) -> Int[np.ndarray, " row"]:
    """The order of each step: as many values as there are."""
    return np.minimum(order, np.arange(grid.n) + 1)


def data_orders(grid: Grid, order: int) -> list[int]:
    """The order of each step in data form: 1 onto σ = 0, falling before the end of a grid of few steps."""
    orders = ramp(grid, order)
    if grid.n < FEW:
        orders = np.minimum(orders, grid.n - np.arange(grid.n))
    return [usable(grid, i, int(o)) for i, o in enumerate(orders)]


def usable(grid: Grid, i: int, order: int) -> int:
    """The order that step i can have: λ of all its nodes finite, and 1 onto the data."""
    if grid.sigma[i + 1] == 0:
        return 1
    signal = grid.alpha[i - order + 1 : i + 1] > 0
    return max(1, int(signal.sum()))


def interval(start: float, end: float) -> tuple[Nodes, Nodes]:
    """Nodes and weights of Gauss's rule for ∫ from start to end."""
    return start + (end - start) * (NODES + 1) / 2, (end - start) / 2 * WEIGHTS


def lagrange(nodes: Float[np.ndarray, " node"], at: Nodes) -> Float[np.ndarray, "node place"]:
    """Lagrange's polynomials of the nodes."""
    made = np.ones((len(nodes), len(at)))
    for k, node in enumerate(nodes):
        for other in np.delete(nodes, k):
            made[k] *= (at - other) / (node - other)
    return made


def data_weights(grid: Grid, i: int, order: int) -> Weights:
    """Weights of D₀, D₁ … in step i (eq. 1)."""
    if order == 1:
        return np.array([grid.alpha[i + 1] * (1 - decay(grid)[i])])
    return weights_between(grid, (i, i + 1), np.arange(i, i - order, -1))


def weights_between(grid: Grid, ends: tuple[int, int], nodes: Int[np.ndarray, " node"]) -> Weights:
    """The integral, between two places, of the polynomial in λ through D at the places `nodes` (eq. 1)."""
    level, (start, end) = half_log_snr(grid), ends
    at, w = interval(level[start], level[end])
    # σ' exp(λ) = α' exp(λ − λ')
    return lagrange(level[nodes], at) @ (grid.alpha[end] * np.exp(at - level[end]) * w)


def two_step(grid: Grid, i: int, order: int) -> Weights:
    """Weights of D₀ and D₁ in step i of 2M (eq. 2), which differ from the integral in the third order."""
    level = half_log_snr(grid)
    total = data_weights(grid, i, 1)[0]
    r = (level[i] - level[i - 1]) / (level[i + 1] - level[i])
    return total * np.array([1 + 0.5 / r, -0.5 / r])  # eq. 2


def sde_rows(grid: Grid, order: int) -> Rows:
    """Rows of DPM-Solver++ for the reverse SDE (eq. 4)."""
    e = decay(grid)
    weights = np.zeros((grid.n, 3))
    for i, here in enumerate(data_orders(grid, order)):
        total = data_weights(grid, i, here)
        weights[i, :here] = total if here == 1 else two_step(grid, i, 2)
        weights[i] *= 1 + e[i]  # eq. 4: (1 − e²)/(1 − e)
    return data_rows(grid, kept(grid) * e, weights, grid.sigma[1:] * np.sqrt(1 - e**2))


def singlestep_rows(grid: Grid, order: int) -> Rows:
    """Rows of 2S or 3S (eq. 8); single steps from noise alone and onto the data."""
    a, b = kept(grid), np.zeros((grid.n, 3))
    b[:, 0] = grid.alpha[1:] * (1 - decay(grid))
    inner = np.arange(int(grid.alpha[0] == 0), grid.n - int(grid.sigma[-1] == 0))
    blocks = np.array_split(inner, math.ceil(len(inner) / order)) if len(inner) else []
    for block in blocks:  # of lengths as equal as can be: one single step more would lose an order
        before = np.zeros(3)
        for i, weights in zip(block, stages(grid, block), strict=True):
            # x at the start of the long step is (x − before · D)/a of the one that led here.
            newest = i - block[0] + 1
            b[i] = np.roll((weights - a[i] * before)[::-1], newest)
            before = weights
    return data_rows(grid, a, b)


def stages(grid: Grid, block: Int[np.ndarray, " step"]) -> list[Weights]:
    """Weights of D at the places of the block, for the long steps from the first of them to each next place (eq. 8)."""
    level, first, ends = half_log_snr(grid), block[0], block + 1
    made = np.zeros((len(block), 3))
    made[:, 0] = -grid.alpha[ends] * np.expm1(level[first] - level[ends])
    tilt = np.zeros(len(block))  # towards the second place
    if len(block) == 2:
        tilt[1] = made[1, 0] * (level[first + 2] - level[first]) / (level[first + 1] - level[first]) / 2
    if len(block) == 3:
        made[2] = weights_between(grid, (first, first + 3), block)
        early, late = (weights_between(grid, (first, end), block[:2])[1] for end in ends[:2])
        tilt[1] = late + made[2, 1] / made[2, 2] * early  # their errors cancel in the last stage
    return list(made + tilt[:, None] * np.array([-1, 1, 0]))


def noise_weights(grid: Grid, i: int, order: int) -> Weights:
    """Weights of ε₀, ε₁ … in step i: α' ∫ of their polynomial in log ρ (eq. 5)."""
    level = half_log_snr(grid)
    if np.isinf(level[i + 1]):
        at, w = level[i] + FAR_NODES, FAR_WEIGHTS * np.exp(-level[i])
    else:
        at, w = interval(level[i], level[i + 1])
        w = w * np.exp(-at)
    return -grid.alpha[i + 1] * lagrange(level[i - order + 1 : i + 1][::-1], at) @ w


class Unified(NamedTuple):
    """Weights of UniPC for one step (eq. 7)."""

    predictor: Weights  # of D₀, D₁ …
    corrector: Float[np.ndarray, " corrected"]  # of D' at the end of the step, then of D₀, D₁ …


def unified(grid: Grid, i: int, order: int, variant: str) -> Unified:
    """Weights of step i, from the conditions Σ_k w_k r_kʲ⁻¹ = b_j (eq. 7)."""
    alpha1, e = grid.alpha[i + 1], decay(grid)[i]
    level = half_log_snr(grid)
    h = level[i + 1] - level[i]
    base = np.zeros(order)
    base[0] = alpha1 * (1 - e)
    if np.isinf(h):  # onto data, or from pure noise: B(h) has no place here
        corrector = np.concatenate([[0.5 * base[0]], base - 0.5 * base])
        return Unified(base, corrector)
    r = np.append((level[i - order + 1 : i][::-1] - level[i]) / h, 1.0)
    scale = -h if variant == "bh1" else np.expm1(-h)
    b, phi, factorial = np.zeros(order), np.expm1(-h) / -h - 1, 1.0
    for j in range(order):
        b[j] = phi * factorial / scale
        factorial *= j + 2
        phi = phi / -h - 1 / factorial
    powers = r[None, :] ** np.arange(order)[:, None]
    forward = np.array([0.5]) if order == 2 else np.linalg.solve(powers[:-1, :-1], b[:-1])
    both = np.array([0.5]) if order == 1 else np.linalg.solve(powers, b)  # eq. 7
    predictor, corrected = base.copy(), base.copy()
    add_differences(predictor, -alpha1 * scale * forward / r[:-1])
    add_differences(corrected, -alpha1 * scale * both[:-1] / r[:-1])
    last = -alpha1 * scale * both[-1]
    corrected[0] -= last
    return Unified(predictor, np.concatenate([[last], corrected]))


def add_differences(weights: Weights, of: Float[np.ndarray, " difference"]) -> None:
    """Add Σ_k of_k (D_k − D₀) to weights of D₀, D₁ …, in place."""
    weights[1 : len(of) + 1] += of
    weights[0] -= of.sum()


def check_order(where: str, order: int, most: int) -> None:
    """Refuse an order that the solver does not have."""
    if not 1 <= order <= most:
        raise ValueError(f"{where}: expected 'order' from 1 to {most}, got {order}. Lower it, or take more steps.")
