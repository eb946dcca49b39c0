"""Stochastic solvers: the reverse diffusion and its relatives.

With the next place (α', σ') and e = σ' α/(σ α'), D = denoise(x, t),
    q(x'|x, x₀) = N(e (σ'/σ) x + α'(1 − e²) x₀, σ'²(1 − e²))                                                     (1)
    ancestral [1]     x₀ = D; variance as in (1), fixed_small, or σ²(1 − e²), fixed_large                        (2)
    learned [2]       log variance = v log(σ²(1 − e²)) + (1 − v) log(σ'²(1 − e²)),  v in [0, 1] by a network     (3)
    Euler-Maruyama [3]   x' = x − (f x − g² s) Δt + g √Δt z,   s = (α D − x)/σ² the score                        (4)
    corrector [3]     x ← x + η s + √(2η) z,   η = 2 (r σ)²,  r the ratio of signal to noise                     (5)
    annealed Langevin [4]   x ← x + (a/2) s + √a z, many times at each level,   a = size · σ²/σ_last²            (6)
Noise is never added by the step onto σ = 0, so that the last thing is a denoised sample.

Differs: in (5), [3] has ‖z‖/‖s‖ in the place of σ, as means over the batch, which couples samples; for the score of
noise, ‖z‖/‖s‖ = σ. The predictor is (2), not the discretisation of [3], and also takes grids that start without signal.

References:
    [1] Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239
    [2] Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, arXiv:2102.09672
    [3] Song et al., Score-Based Generative Modeling through SDEs, 2021, arXiv:2011.13456
    [4] Song & Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, arXiv:1907.05600
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from artifex.core.config import Config
from artifex.diffusion.grid import Grid
from artifex.diffusion.prediction import Denoise
from artifex.diffusion.solver import Column, DDIMSolver, Linear, Noise, Rows, State, data_rows, decay, ends

Variance = Literal["fixed_small", "fixed_large"]
Fraction = Callable[[State, Array], State]  # (xt, t) -> v of eq. 3, in [0, 1]


@dataclass(frozen=True, kw_only=True)
class Ancestral(Linear, Config):
    """Ancestral sampling with a fixed variance (eq. 2)."""

    variance: Variance = "fixed_large"

    def coefficients(self, grid: Grid) -> Rows:
        """Rows in data form."""
        mean = posterior(grid)
        return data_rows(grid, mean.of_x, mean.of_x0[:, None], np.sqrt(variances(grid, self.variance)))


@dataclass(frozen=True, kw_only=True)
class EulerAncestral(Linear, Config):
    """Euler's rule in σ/α to a lower level, then noise up to the next: DDIM with η = 1, by another road."""

    def coefficients(self, grid: Grid) -> Rows:
        """Rows of DDIM."""
        return DDIMSolver(eta=1.0).coefficients(grid)


@dataclass(frozen=True, kw_only=True)
class EulerMaruyama(Linear, Config):
    """The reverse SDE by the rule of Euler and Maruyama (eq. 4), denoised at the end."""

    def coefficients(self, grid: Grid) -> Rows:
        """Rows in data form.

        Raises:
            ValueError: the grid does not know its schedule, or starts where the drift is infinite.
        """
        alpha, sigma, _, sigma1 = ends(grid)
        if grid.schedule is None or alpha[0] < 1e-8:
            got = "one of bare numbers" if grid.schedule is None else f"α = {alpha[0]:.3g} at its start"
            raise ValueError(
                f"euler_maruyama: expected a grid made from a schedule that starts with some signal, got {got}. "
                "The drift is infinite without signal; take ancestral, which needs none."
            )
        t, dt = grid.t[:-1], -np.diff(grid.t)
        drift, g2 = np.asarray(grid.schedule.drift(t)), np.asarray(grid.schedule.diffusion(t)) ** 2
        onto_data = sigma1 == 0
        a = np.where(onto_data, 0, 1 - dt * (drift + g2 / sigma**2))  # eq. 4
        b = np.where(onto_data, 1, dt * g2 * alpha / sigma**2)
        return data_rows(grid, a, b[:, None], np.where(onto_data, 0, np.sqrt(g2 * dt)))


@dataclass(frozen=True, kw_only=True)
class AnnealedLangevin(Linear, Config):
    """Langevin steps at each level of the grid in turn (eq. 6) [4]."""

    size: float = 2e-5  # of a step at the last level
    repeats: int = 100  # steps at each level
    denoise_last: bool = False  # end with the denoiser, as later work does

    def coefficients(self, grid: Grid) -> Rows:
        """Rows in data form, `repeats` a level."""
        size = self.size * grid.sigma[:-1] ** 2 / grid.sigma[-2] ** 2  # eq. 6
        pull = 0.5 * size / grid.sigma[:-1] ** 2
        t, a, b, c = (
            np.repeat(column, self.repeats) for column in (grid.t[:-1], 1 - pull, pull * grid.alpha[:-1], np.sqrt(size))
        )
        if self.denoise_last:
            t, a, b, c = (np.append(column, last) for column, last in ((t, t[-1]), (a, 0), (b, 1), (c, 0)))
        return Rows(t, np.zeros(len(t)), np.ones(len(t)), a, b[:, None], c)


@dataclass(frozen=True, kw_only=True)
class PredictorCorrector(Linear, Config):
    """Langevin steps (eq. 5) before each ancestral one [3]."""

    snr: float = 0.16  # r
    corrections: int = 1  # Langevin steps at each place

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        if self.snr <= 0 or self.corrections < 1:
            raise ValueError(
                f"PredictorCorrector: expected 'snr' > 0 and 'corrections' >= 1, got {self.snr} and "
                f"{self.corrections}. Without corrections this is ancestral sampling; ask for that."
            )

    def coefficients(self, grid: Grid) -> Rows:
        """Rows in data form: the corrections of each place, then its predictor."""
        alpha, sigma, _, _ = ends(grid)
        mean, pull = posterior(grid), np.full(grid.n, 2 * self.snr**2)  # η/σ² (eq. 5)
        correct = np.stack([grid.t[:-1], 1 - pull, pull * alpha, np.sqrt(2 * pull) * sigma])
        predict = np.stack([grid.t[:-1], mean.of_x, mean.of_x0, np.sqrt(variances(grid, "fixed_small"))])
        t, a, b, c = np.stack([correct] * self.corrections + [predict], axis=-1).reshape(4, -1)
        return Rows(t, np.zeros(len(t)), np.ones(len(t)), a, b[:, None], c)


class LearnedRow(NamedTuple):
    """One step of ancestral sampling with a learned variance."""

    t: Column
    a: Column
    b: Column
    log_small: Column
    log_large: Column
    noisy: Column  # 0 onto the data


class Sample(NamedTuple):
    """A state that is the sample alone."""

    x: State


@dataclass(frozen=True)
class LearnedAncestral:
    """Ancestral sampling between the two fixed variances, where `fraction` says (eq. 3)."""

    fraction: Fraction

    def coefficients(self, grid: Grid) -> LearnedRow:
        """Rows of the mean, and the logs of both variances."""
        mean, noisy = posterior(grid), (grid.sigma[1:] > 0).astype(float)
        small, large = (np.where(noisy > 0, variances(grid, kind), 1.0) for kind in ("fixed_small", "fixed_large"))
        return LearnedRow(grid.t[:-1], mean.of_x, mean.of_x0, np.log(small), np.log(large), noisy)

    def init(self, xt: State) -> Sample:
        """The sample."""
        return Sample(xt)

    def step(self, denoise: Denoise, state: Sample, row: Any, noise: Noise) -> Sample:
        """A draw with the variance of eq. 3."""
        v = self.fraction(state.x, row.t)
        log_var = v * row.log_large + (1 - v) * row.log_small  # eq. 3
        mean = row.a * state.x + row.b * denoise(state.x, row.t)
        return Sample(mean + row.noisy * jnp.exp(0.5 * log_var) * noise(0))


class PosteriorMean(NamedTuple):
    """The mean of q(x'|x, x₀) as a sum (eq. 1)."""

    of_x: Column
    of_x0: Column


def posterior(grid: Grid) -> PosteriorMean:
    """Coefficients of x and x₀ in the mean of each step's posterior (eq. 1)."""
    _, sigma, alpha1, sigma1 = ends(grid)
    e = decay(grid)
    return PosteriorMean(e * sigma1 / sigma, alpha1 * (1 - e**2))  # eq. 1


def variances(grid: Grid, kind: Variance) -> Column:
    """The variance of each step (eq. 2); 0 onto the data."""
    _, sigma, _, sigma1 = ends(grid)
    scale = sigma1 if kind == "fixed_small" else np.where(sigma1 > 0, sigma, 0)
    return scale**2 * (1 - decay(grid) ** 2)  # eq. 2
