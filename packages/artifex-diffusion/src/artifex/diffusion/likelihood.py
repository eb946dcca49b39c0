"""Likelihood by the probability flow.

With y = x/α and ρ = σ/α, and D the denoised estimate of d entries,
    dy/d log ρ = y − D                                                                                           (1)
    d log p(y)/d log ρ = −tr ∂(y − D)/∂y = tr ∂D/∂y − d                                                          (2)
    log p(x) = log p_T(x_T) + d log α_T − ∫ (tr ∂D/∂y − d) d log ρ                                               (3)
integrated by the classical Runge-Kutta rule in equal parts of log ρ, from the first noise level, which stands for the
data, to the last. The trace is exact, one derivative an entry, or by Hutchinson's estimate
    tr A = E vᵀ A v,   v = ±1                                                                                    (4)
Where some data are left at the end, the normal prior is not the true density there: `prior` may give it.

References:
    [1] Chen et al., Neural Ordinary Differential Equations, 2018, arXiv:1806.07366
    [2] Grathwohl et al., FFJORD, 2019, arXiv:1810.01367 (eq. 4)
    [3] Song et al., Score-Based Generative Modeling through SDEs, 2021, arXiv:2011.13456
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.prob import noise
from artifex.core.prob.gaussian import LOG_2PI, over_event
from artifex.diffusion.grid import UniformLogSNR
from artifex.diffusion.prediction import Data, Denoise
from artifex.diffusion.schedule import Schedule

PerRow = Float[Array, " batch"]
Prior = Callable[[Array], Array]  # x_T -> log p_T(x_T) of each row


class Levels(NamedTuple):
    """A noise level: its time and scales."""

    t: Array
    alpha: Array


def log_prob(
    denoise: Denoise,
    x: Data,
    schedule: Schedule,
    *,
    prior: Prior | None = None,
    divergence: Literal["exact", "hutchinson"] = "exact",
    steps: int = 100,
    rngs: nnx.Rngs | None = None,
    span: tuple[float | None, float | None] = (None, None),
) -> PerRow:
    """log p(x) in nats, one value per row (eq. 3).

    Args:
        prior: log p_T at the last level; N(0, σ_T²) when None.
        span: first and last time; None takes the schedule's own, short of where data or noise would vanish.
        rngs: of the probes v.
    """
    first, last = span
    top = (1.0 if float(schedule.alpha(1.0)) > 1e-8 else 0.999) if last is None else last
    grid = UniformLogSNR(t_max=top, t_min=first)(schedule, 2 * steps)
    up = Levels(*(jnp.asarray(column[::-1], x.dtype) for column in (grid.t, grid.alpha)))
    h = math.log(grid.sigma[0] / grid.alpha[0] * grid.alpha[-1] / grid.sigma[-1]) / steps
    slope = _slope(denoise, x, divergence, rngs)

    def step(state: tuple[Data, PerRow], three: Levels) -> tuple[tuple[Data, PerRow], None]:
        y, total = state
        here, middle, there = (Levels(three.t[k], three.alpha[k]) for k in range(3))
        k1, d1 = slope(y, here)
        k2, d2 = slope(y + 0.5 * h * k1, middle)
        k3, d3 = slope(y + 0.5 * h * k2, middle)
        k4, d4 = slope(y + h * k3, there)
        return (y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), total + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)), None

    threes = Levels(*(jnp.stack([c[:-2:2], c[1:-1:2], c[2::2]], 1) for c in up))
    start = (x, jnp.zeros(len(x), x.dtype))
    (y, total), _ = jax.lax.scan(step, start, threes)
    alpha, sigma = float(grid.alpha[0]), float(grid.sigma[0])
    end = normal_prior(alpha * y, sigma) if prior is None else prior(alpha * y)
    return end + math.prod(x.shape[1:]) * math.log(alpha) - total  # eq. 3


def normal_prior(xt: Data, sigma: float) -> PerRow:
    """log N(x_T; 0, σ²) in nats."""
    return over_event(-0.5 * (xt / sigma) ** 2 - math.log(sigma) - 0.5 * LOG_2PI)


def _slope(denoise: Denoise, x: Data, divergence: str, rngs: nnx.Rngs | None) -> Callable[..., tuple[Data, PerRow]]:
    """The slopes of y and of log p in log ρ (eq. 1, 2)."""
    d = math.prod(x.shape[1:])
    if divergence == "exact":
        # One direction an entry, the same in all rows, which do not look at each other.
        directions = jnp.eye(d, dtype=x.dtype).reshape(d, 1, *x.shape[1:])
        directions = jnp.broadcast_to(directions, (d, *x.shape))
    elif divergence == "hutchinson" and rngs is not None:
        directions = jnp.where(noise.bernoulli(rngs, jnp.full(x.shape, 0.5, x.dtype)), 1.0, -1.0)[None].astype(x.dtype)
    else:
        raise ValueError(
            f"log_prob: expected divergence 'exact', or 'hutchinson' with 'rngs', got {divergence!r} with rngs "
            f"{'given' if rngs is not None else 'None'}. Pass nnx.Rngs(seed)."
        )

    def slope(y: Data, at: Levels) -> tuple[Data, PerRow]:
        x0, push = jax.linearize(lambda y: denoise(at.alpha * y, at.t), y)
        trace = jax.vmap(lambda v: over_event(v * push(v)))(directions).sum(0)  # eq. 4
        return y - x0, trace - d

    return slope
