"""The variational bound of a diffusion in T steps.

    −log p(x₀) ≤ KL(q(x_T|x₀) ‖ N(0, I)) + Σ_{i ≥ 2} KL(q(x_{i−1}|x_i, x₀) ‖ p(x_{i−1}|x_i)) − E log p(x₀|x₁)     (1)
    KL(N(m₁, v₁) ‖ N(m₂, v₂)) = ½ Σ (log v₂/v₁ + (v₁ + (m₁ − m₂)²)/v₂ − 1)                                       (2)
The last term is that of a Gaussian in bins where the data are levels, and its density where they are not,
    log P(x) = log(Φ((x + δ − μ)/s) − Φ((x − δ − μ)/s)),   the outer bins open                                   (3)

References:
    [1] Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239 (section 3.3)
    [2] Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, arXiv:2102.09672
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float

from artifex.core.prob.gaussian import LOG_2PI, over_event
from artifex.diffusion.grid import Grid
from artifex.diffusion.schedule import Discrete
from artifex.diffusion.stochastic import posterior, variances

PerRow = Float[Array, " batch"]
Data = Float[Array, "batch *event"]


class StepTables(NamedTuple):
    """Numbers of q(x_{i−1}|x_i, x₀), index i − 1, for i = 1 … T; float64."""

    of_x: np.ndarray
    of_x0: np.ndarray
    log_small: np.ndarray  # log β̃; its first entry is that of the second, since β̃₁ is 0
    log_large: np.ndarray  # log β; its first entry is β̃₂, which the last term fares better with


class Levels(NamedTuple):
    """Data in equal steps from −1 to 1."""

    n: int


def step_tables(schedule: Discrete) -> StepTables:
    """Posterior coefficients of every step of a schedule."""
    t = np.arange(schedule.n_steps, -1, -1) / schedule.n_steps
    grid = Grid(t, np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t)))
    mean = posterior(grid)
    small, large = (variances(grid, kind)[::-1].copy() for kind in ("fixed_small", "fixed_large"))
    small[0] = large[0] = small[1] if len(small) > 1 else float(schedule.table("beta")[1])
    return StepTables(mean.of_x[::-1], mean.of_x0[::-1], np.log(small), np.log(large))


def gaussian_kl(m1: Data, log_v1: Array, m2: Data, log_v2: Array) -> Data:
    """KL of Gaussians in nats, one value per entry (eq. 2)."""
    return 0.5 * (log_v2 - log_v1 + jnp.exp(log_v1 - log_v2) + (m1 - m2) ** 2 * jnp.exp(-log_v2) - 1)


def prior_kl(x0: Data, schedule: Discrete) -> PerRow:
    """KL(q(x_T|x₀) ‖ N(0, I)) in nats."""
    alpha, sigma = float(schedule.alpha(1.0)), float(schedule.sigma(1.0))
    zero = jnp.zeros((), x0.dtype)
    return over_event(gaussian_kl(alpha * x0, zero + 2 * math.log(sigma), 0 * x0, zero))


def bound_term(
    x0: Data, xt: Data, mean: Data, log_var: Float[Array, "..."], at: tuple[Array, StepTables, Levels | None]
) -> Data:
    """The term of step i in nats, one value per entry: a KL, or the last term for i = 1 (eq. 1)."""
    index, tables, in_levels = at
    of_x, of_x0, log_small = (rows_like(jnp.asarray(c, x0.dtype)[index], x0) for c in tables[:3])
    kl = gaussian_kl(of_x * xt + of_x0 * x0, log_small, mean, log_var)
    last = density(x0, mean, log_var) if in_levels is None else log_level(x0, mean, 0.5 * log_var, in_levels)
    return jnp.where(rows_like(index, x0) == 0, -last, kl)


def rows_like(value: Array, x: Data) -> Array:
    """A number, or one per row, shaped to multiply x."""
    return value.reshape(value.shape + (1,) * (x.ndim - 1)) if value.ndim else value


def density(x: Data, mean: Data, log_var: Float[Array, "..."]) -> Data:
    """log N(x; mean, var) in nats, one value per entry."""
    return -0.5 * ((x - mean) ** 2 * jnp.exp(-log_var) + log_var + LOG_2PI)


def log_level(x: Data, mean: Data, log_std: Float[Array, "..."], levels: Levels) -> Data:
    """log of the mass of x's bin in nats, one value per entry (eq. 3)."""
    half = 1 / (levels.n - 1)
    centred = (x - mean) * jnp.exp(-log_std)
    reach = half * jnp.exp(-log_std)
    # Both ends mirrored to where Φ is small, so that the difference keeps its digits.
    side = jnp.where(centred > 0, -1.0, 1.0)
    upper, lower = log_ndtr(side * centred + reach), log_ndtr(side * centred - reach)
    inside = upper + jnp.log1p(-jnp.exp(jnp.minimum(lower - upper, -1e-7)))
    open_below, open_above = log_ndtr(centred + reach), log_ndtr(-(centred - reach))
    return jnp.where(x < -1 + half, open_below, jnp.where(x > 1 - half, open_above, inside))
