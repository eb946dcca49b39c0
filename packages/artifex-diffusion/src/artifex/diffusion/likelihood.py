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
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.prob import noise
from artifex.core.prob.gaussian import LOG_2PI, over_event
from artifex.diffusion.grid import Grid, UniformLogSNR
from artifex.diffusion.prediction import Data, Denoise
from artifex.diffusion.process import Schedule

PerRow = Float[Array, " batch"]
Prior = Callable[[Array], Array]  # x_T -> log p_T(x_T) of each row


class Stage(NamedTuple):
    """One call of the network within a step of the classical rule."""

    t: Array | np.ndarray
    alpha: Array | np.ndarray
    weight: Array | np.ndarray  # of its slope in the step
    reach: Array | np.ndarray  # how far its slope carries to the next stage
    last: Array | np.ndarray  # whether the step ends here


class Path(NamedTuple):
    """Where the integration stands."""

    start: Data  # y at the start of the step
    here: Data  # y of this stage
    ahead: Data  # y at the end of the step, as far as it is summed
    total: PerRow  # the integral of eq. 3


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
    h = math.log(grid.sigma[0] / grid.alpha[0] * grid.alpha[-1] / grid.sigma[-1]) / steps
    slope = _slope(denoise, x, divergence, rngs)

    def stage(state: Path, row: Stage) -> tuple[Path, None]:
        k, d = slope(state.here, row)
        y, total = state.ahead + h * row.weight * k, state.total + h * row.weight * d
        start = jnp.where(row.last, y, state.start)
        return Path(start, jnp.where(row.last, y, start + h * row.reach * k), y, total), None

    rows = jax.tree.map(lambda column: jnp.asarray(column, x.dtype), stages(grid, steps))
    end, _ = jax.lax.scan(stage, Path(x, x, x, jnp.zeros(len(x), x.dtype)), rows)
    alpha, sigma = float(grid.alpha[0]), float(grid.sigma[0])
    last = normal_prior(alpha * end.ahead, sigma) if prior is None else prior(alpha * end.ahead)
    return last + math.prod(x.shape[1:]) * math.log(alpha) - end.total  # eq. 3


def stages(grid: Grid, steps: int) -> Stage:
    """The rows of the rule, from data to noise: one network call each, so that one is compiled and not four."""
    t, alpha = grid.t[::-1], grid.alpha[::-1]  # a step spans three places, its middle among them
    place = (2 * np.arange(steps)[:, None] + np.array([0, 1, 1, 2])).ravel()
    weight, reach, last = (
        np.tile(column, steps) for column in ([1 / 6, 1 / 3, 1 / 3, 1 / 6], [0.5, 0.5, 1, 0], [0, 0, 0, 1])
    )
    return Stage(t[place], alpha[place], weight, reach, last)


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

    def slope(y: Data, at: Stage) -> tuple[Data, PerRow]:
        x0, push = jax.linearize(lambda y: denoise(at.alpha * y, jnp.asarray(at.t)), y)
        trace = jax.vmap(lambda v: over_event(v * push(v)))(directions).sum(0)  # eq. 4
        return y - x0, trace - d

    return slope
