"""Solvers of the flow from noise to data, in one scan.

    D = denoise(x, t),   ε = (x − α D)/σ,   λ = log(α/σ)                                                         (1)
A deterministic solver is linear in what it has seen. Each row of its coefficients is one call of the network,
    v_0 = p x + q D                       data (0, 1), noise (1/σ, −α/σ), or another slope                       (2)
    x   ← a x + Σ_k b_k v_k (+ c z)       v_k the value of k calls ago                                           (3)
so that solvers differ in numbers only: stages of Heun or Runge-Kutta are rows too, with the start of their step
written through what came after it. The numbers are float64 on the host, cast once.

With the next place (α', σ'), e = exp(λ − λ'),
    DDIM [1]    x' = α' D + √(σ'² − s²) ε + s z,   s = η σ' √(1 − e²)                                            (4)
    Heun [2]    x'/c' = x/c + Δs (v + v')/2,   s = σ/c, v the slope d(x/c)/ds                                    (5)
    RK4         on d(x/α)/dλ = D − x/α                                                                           (6)
Euler's rule in ρ = σ/α, in λ in data form and in a flow's velocity are all eq. 4 with η = 0. Solvers that look back
over several steps are in `multistep`, those that only make sense with noise in `stochastic`.

References:
    [1] Song, Meng & Ermon, Denoising Diffusion Implicit Models, 2021, arXiv:2010.02502
    [2] Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, arXiv:2206.00364
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from artifex.core.config import Config
from artifex.core.prob.noise import row_keys
from artifex.diffusion.grid import Grid
from artifex.diffusion.prediction import Denoise

State = Float[Array, "batch *event"]
Column = Float[np.ndarray, " row"]
Noise = Callable[[int], State]  # the k-th noise of a step
Slope = Literal["eps", "velocity"]
LARGEST_PATH = 4 * 2**30  # bytes


class Solver(Protocol):
    """A way from noise to data along a grid."""

    def coefficients(self, grid: Grid) -> Any:
        """A pytree of float64 numpy arrays, one row a step."""
        ...

    def init(self, xt: State) -> Any:
        """The state before the first step; its field `x` is the sample."""
        ...

    def step(self, denoise: Denoise, state: Any, row: Any, noise: Noise) -> Any:
        """The state after a step; `noise(k)` draws its k-th noise."""
        ...


class Rows(NamedTuple):
    """Coefficients of eq. 2 and 3, one row a call."""

    t: Column
    p: Column
    q: Column
    a: Column
    b: Float[np.ndarray, "row k"]
    c: Column | None = None  # of noise after the call
    stir: Float[np.ndarray, "row 2"] | None = None  # before the call: x ← stir₀ x + stir₁ z


class History(NamedTuple):
    """The sample and the values of the last calls, newest first."""

    x: State
    values: tuple[State, ...]


def solve(
    denoise: Denoise,
    xt: State,
    grid: Grid,
    solver: Solver,
    *,
    rngs: nnx.Rngs | None = None,
    keep: Literal["last", "all"] = "last",
) -> Float[Array, "..."]:
    """The sample at the end of the grid, or with keep="all" the start and the sample after each row, [row + 1, ...].

    Args:
        rngs: for solvers that draw noise; noise belongs to the row, so that samples do not depend on each other.
    """
    rows = jax.tree.map(lambda column: jnp.asarray(column, xt.dtype), solver.coefficients(grid))
    n_rows = len(jax.tree.leaves(rows)[0])
    check_path(xt, n_rows, keep)
    keys = None if rngs is None else row_keys(rngs, len(xt))

    def step(state: Any, item: Any) -> tuple[Any, State | None]:
        index, row = item
        state = solver.step(denoise, state, row, noise_of(keys, index, xt))
        return state, state.x if keep == "all" else None

    state, path = jax.lax.scan(step, solver.init(xt), (jnp.arange(n_rows), rows))
    return state.x if path is None else jnp.concatenate([xt[None], path])


def noise_of(keys: Key[Array, " batch"] | None, index: Int[Array, ""], like: State) -> Noise:
    """The noises of one step, drawn when asked for."""

    def draw(k: int) -> State:
        if keys is None:
            raise ValueError("solve: expected 'rngs' for a solver that draws noise, got none. Pass nnx.Rngs(seed).")
        here = jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, index), k))(keys)
        return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(here)

    return draw


def check_path(xt: State, n_rows: int, keep: str) -> None:
    """Refuse a trajectory that would not fit."""
    size = (n_rows + 1) * xt.size * xt.dtype.itemsize
    if keep not in ("last", "all") or (keep == "all" and size > LARGEST_PATH):
        got = f"{size / 2**30:.1f} GiB for {n_rows} rows" if keep == "all" else repr(keep)
        raise ValueError(
            f"solve: expected keep='last', or 'all' within {LARGEST_PATH / 2**30:.0f} GiB, got {got}. "
            "Draw fewer samples at once, or keep the last."
        )


class Linear:
    """Solvers that are nothing but rows (eq. 2, 3); a subclass says which, and how many values it looks back at."""

    memory: int = 1

    def init(self, xt: State) -> History:
        """No values yet."""
        return History(xt, (jnp.zeros_like(xt),) * self.memory)

    def step(self, denoise: Denoise, state: History, row: Any, noise: Noise) -> History:
        """One call of the network, and the sum."""
        x = state.x if row.stir is None else row.stir[0] * state.x + row.stir[1] * noise(1)
        values = (row.p * x + row.q * denoise(x, row.t), *state.values[: self.memory - 1])  # eq. 2
        x = row.a * x + sum(row.b[k] * value for k, value in enumerate(values))  # eq. 3
        return History(x if row.c is None else x + row.c * noise(0), values)


@dataclass(frozen=True, kw_only=True)
class DDIMSolver(Linear, Config, tag="ddim"):
    """DDIM (eq. 4): deterministic for η = 0, ancestral sampling for η = 1. Order 1."""

    eta: float = 0.0  # share of the posterior's deviation that is drawn anew

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        if not 0 <= self.eta <= 1:
            raise ValueError(f"DDIMSolver: expected 'eta' in [0, 1], got {self.eta}. 0 draws no noise.")

    def coefficients(self, grid: Grid) -> Rows:
        """Rows in data form (eq. 4)."""
        alpha, sigma, alpha1, sigma1 = ends(grid)
        s = self.eta * sigma1 * np.sqrt(1 - decay(grid) ** 2)  # eq. 4
        kept = np.sqrt(sigma1**2 - s**2) / sigma
        return data_rows(grid, kept, (alpha1 - alpha * kept)[:, None], s if self.eta else None)


@dataclass(frozen=True, kw_only=True)
class Euler(Linear, Config):
    """Euler's rule in ρ = σ/α, in a flow's velocity, or in data form: all are DDIM without noise. Order 1."""

    def coefficients(self, grid: Grid) -> Rows:
        """Rows of DDIM (eq. 4)."""
        return DDIMSolver(eta=0.0).coefficients(grid)


@dataclass(frozen=True, kw_only=True)
class Heun(Linear, Config):
    """The trapezoidal rule after an Euler step (eq. 5), two calls a step, one onto σ = 0. Order 2.

    The slope v is ε against σ/α [2], or a flow's velocity ε − x₀ against σ/(α + σ). With `churn`, noise is raised
    before each step, and the solver is stochastic [2].
    """

    memory = 2
    slope: Slope = "eps"
    churn: float = 0.0  # S_churn; 40 for ImageNet-64
    churn_min: float = 0.05  # S_tmin: σ below it is not stirred
    churn_max: float = 50.0  # S_tmax
    churn_noise: float = 1.003  # S_noise

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        if self.churn < 0 or (self.churn and self.slope == "velocity"):
            raise ValueError(
                f"Heun: expected 'churn' >= 0, and 0 with slope 'velocity', got {self.churn} with {self.slope!r}. "
                "Stirring is defined in σ/α; use slope 'eps'."
            )

    def coefficients(self, grid: Grid) -> Rows:
        """Rows of an Euler step and of its correction (eq. 5)."""
        start, stir = self.stirred(grid)
        rows: list[Any] = []
        for i in range(grid.n):
            here, there = start[i], place(grid, i + 1)
            gap = there.s(self.slope) - here.s(self.slope)
            c0, c1 = here.c(self.slope), there.c(self.slope)
            rows.append((here.t, *here.slope(self.slope), c1 / c0, c1 * gap, 0.0, *stir[i]))
            if there.sigma > 0:  # eq. 5
                rows.append((there.t, *there.slope(self.slope), 1.0, c1 * gap / 2, -c1 * gap / 2, 1.0, 0.0))
        t, p, q, a, b0, b1, s0, s1 = np.array(rows).T
        return Rows(t, p, q, a, np.stack([b0, b1], 1), stir=np.stack([s0, s1], 1) if self.churn else None)

    def stirred(self, grid: Grid) -> tuple[list[Place], list[tuple[float, float]]]:
        """Where each step starts once noise is raised, and the scales of x and z that bring it there."""
        refuse_no_signal("heun", grid, self.slope)
        places, stir = [place(grid, i) for i in range(grid.n)], [(1.0, 0.0)] * grid.n
        for i, here in enumerate(places if self.churn else ()):
            ratio = here.sigma / here.alpha
            if self.churn_min <= ratio <= self.churn_max:
                raised = ratio * (1 + min(self.churn / grid.n, math.sqrt(2) - 1))
                up = place_at(grid, raised, "heun with churn")
                places[i] = up
                stir[i] = up.alpha / here.alpha, up.alpha * self.churn_noise * math.sqrt(raised**2 - ratio**2)
        return places, stir


@dataclass(frozen=True, kw_only=True)
class RK4(Linear, Config, tag="rk4"):
    """The classical Runge-Kutta rule in λ on x/α (eq. 6), one call onto σ = 0. Order 4."""

    memory = 4

    def coefficients(self, grid: Grid) -> Rows:
        """Four rows a step."""
        refuse_no_signal("rk4", grid)
        rows: list[tuple[Place, Place, tuple[float, ...]]] = []
        for i in range(grid.n):
            here, there = place(grid, i), place(grid, i + 1)
            if there.sigma == 0:
                # From λ to ∞ the exact flow of a constant D ends in D: x/α + (D − x/α).
                rows.append((here, there, (1.0, 0, 0, 0)))
                continue
            middle = place_at(grid, math.sqrt(here.sigma / here.alpha * there.sigma / there.alpha), "rk4")
            h = math.log(here.sigma * there.alpha / (here.alpha * there.sigma))
            rows += [
                (here, middle, (h / 2, 0, 0, 0)),
                (middle, middle, (h / 2, -h / 2, 0, 0)),
                (middle, there, (h, -h / 2, 0, 0)),
                (there, there, (h / 6, -4 * h / 6, 2 * h / 6, h / 6)),
            ]
        alpha0, alpha1 = np.array([(here.alpha, there.alpha) for here, there, _ in rows]).T
        b = alpha1[:, None] * np.array([row[2] for row in rows])
        return Rows(np.array([row[0].t for row in rows]), -1 / alpha0, np.ones(len(rows)), alpha1 / alpha0, b)


def ends(grid: Grid) -> tuple[Column, Column, Column, Column]:
    """α, σ, α', σ' of each step."""
    return grid.alpha[:-1], grid.sigma[:-1], grid.alpha[1:], grid.sigma[1:]


def decay(grid: Grid) -> Column:
    """e = exp(−h) of each step; 0 onto the data and from pure noise."""
    alpha, sigma, alpha1, sigma1 = ends(grid)
    return sigma1 * alpha / (sigma * alpha1)


def half_log_snr(grid: Grid) -> Float[np.ndarray, " place"]:
    """λ of each place; ∞ at data."""
    with np.errstate(divide="ignore"):
        return np.log(grid.alpha) - np.log(grid.sigma)


def data_rows(grid: Grid, a: Column, b: Float[np.ndarray, "row k"], c: Column | None = None) -> Rows:
    """Rows whose value is D."""
    return Rows(grid.t[:-1], np.zeros(grid.n), np.ones(grid.n), a, b, c)


def noise_rows(grid: Grid, b: Float[np.ndarray, "row k"]) -> Rows:
    """Rows whose value is ε."""
    alpha, sigma, alpha1, _ = ends(grid)
    return Rows(grid.t[:-1], 1 / sigma, -alpha / sigma, alpha1 / alpha, b)


def noise_transfer(grid: Grid) -> Column:
    """The coefficient of ε in a DDIM step."""
    alpha, sigma, alpha1, sigma1 = ends(grid)
    return sigma1 - sigma * alpha1 / alpha


class Place(NamedTuple):
    """One place on the way, for solvers that go by slopes."""

    t: float
    alpha: float
    sigma: float

    def c(self, slope: Slope) -> float:
        """The scale in whose units x is straight."""
        return self.alpha if slope == "eps" else self.alpha + self.sigma

    def s(self, slope: Slope) -> float:
        """What x/c is straight in."""
        return self.sigma / self.c(slope)

    def slope(self, slope: Slope) -> tuple[float, float]:
        """(p, q) of the slope d(x/c)/ds (eq. 2)."""
        return 1 / self.sigma, -self.c(slope) / self.sigma


def place(grid: Grid, i: int) -> Place:
    """Place i of the grid."""
    return Place(float(grid.t[i]), float(grid.alpha[i]), float(grid.sigma[i]))


def place_at(grid: Grid, ratio: float, where: str) -> Place:
    """The place of the grid's schedule at σ/α = ratio."""
    if grid.schedule is None:
        raise ValueError(
            f"{where}: expected a grid that knows its schedule, got one of bare numbers. Places between those of the "
            "grid are needed; make it by a rule such as Karras()."
        )
    t = float(grid.schedule.inverse_log_snr(np.float64(-2 * math.log(ratio))))
    return Place(t, float(grid.schedule.alpha(t)), float(grid.schedule.sigma(t)))


def refuse_no_signal(where: str, grid: Grid, slope: Slope = "eps") -> None:
    """Refuse a grid on which noise alone says nothing about the data."""
    if slope == "eps" and grid.alpha[0] < 1e-8:
        raise ValueError(
            f"{where}: expected a grid that starts with some signal, got α = {grid.alpha[0]:.3g}. Noise is all there "
            "is at its start; take ddim, dpm_solver_pp, unipc, or heun with slope 'velocity'."
        )
