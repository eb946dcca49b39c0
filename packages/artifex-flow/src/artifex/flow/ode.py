"""An ordinary differential equation as a bijector.

    dx/dt = f(x, t),    x(0) = data,    z = x(1)                                                                 (1)
    log |det ∂z/∂x| = ∫₀¹ tr ∂f/∂x dt  [1]                                                                       (2)
    exact        tr J = Σ_d e_dᵀ J e_d,      D products with the Jacobian J = ∂f/∂x                              (3)
    Hutchinson   tr J = E vᵀ J v,            v of independent ±1, one v for each row and solve [2]               (4)
    RK4          y ← y + h/6 (k₁ + 2k₂ + 2k₃ + k₄), n steps of one size: differentiable in reverse, for training (5)
    Dopri5       order 5 with an error e of order 4 [3], for evaluation:
                 accept where ‖e / (τ + τ max(|y|, |y'|))‖ ≤ 1 (root mean square over a row),
                 h ← h min(10, max(0.2, 0.9 ‖·‖^(−1/5)))                                                         (6)
Each row has a time and a step of its own, so that a solution does not depend on the rows beside it.

References:
    [1] Chen, Rubanova, Bettencourt & Duvenaud, Neural Ordinary Differential Equations, 2018, arXiv:1806.07366
    [2] Grathwohl et al., FFJORD: Free-form Continuous Dynamics, 2019, arXiv:1810.01367
    [3] Dormand & Prince, A family of embedded Runge-Kutta formulae, 1980, doi:10.1016/0771-050X(80)90013-3
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from artifex.core.prob import noise
from artifex.flow.bijector import Context, Data, Event, Fast, Mapped, PerRow

Rows = Float[Array, "batch width"]
Derivative = Callable[[Rows, PerRow], Rows]  # of (y, t)
Field = Callable[..., Array]  # of (x, t, context): the velocity of each row
Trace = Callable[[Callable[[Rows], Rows], Rows], tuple[Rows, PerRow]]  # of (f, x): f(x) and tr ∂f/∂x
Span = tuple[float, float]
TO_BASE, TO_DATA = (0.0, 1.0), (1.0, 0.0)
EXACT_UP_TO = 16  # dimensions; beyond, D products cost more than the noise of one

# Row i of A gives the argument of stage i + 2 from the stages before it; the last row is the step of order 5 itself.
A = np.array(
    [
        [1 / 5, 0, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0],
    ]
)
C = np.array([1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1])
ERROR = np.array([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
FIRST_STEP = 0.05  # of the whole span; one that is too long is refused and cut


class Solution(NamedTuple):
    """Where Dopri5 stands: time runs from 0 to 1 in each row."""

    y: Rows
    t: PerRow
    h: PerRow  # the next step
    slope: Rows  # derivative at (y, t), which the last stage of a step gives for the next
    tries: Int[Array, ""]


class ODE(nnx.Module):
    """The flow of a velocity field (eq. 1, 2): RK4 in training mode, Dopri5 in evaluation mode.

    Args:
        field: velocity f(x, t, context) of rows, t one value a row.
        n_steps: of RK4.
        tolerance: τ of Dopri5, absolute and relative.
        max_steps: tries of Dopri5 before it gives up.
    """

    fast: Fast = "both"

    def __init__(
        self,
        field: Field,
        event_shape: Event,
        *,
        n_steps: int = 20,
        tolerance: float = 1e-5,
        max_steps: int = 1000,
    ) -> None:
        self.field = field
        self.event_shape = event_shape
        self.n_steps, self.tolerance, self.max_steps = n_steps, tolerance, max_steps
        self.deterministic = False  # nnx's switch for evaluation

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """(z, log |det ∂z/∂x|), with the exact trace (eq. 3)."""
        return self.transport(x, TO_BASE, context)

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """(x, log |det ∂x/∂z|), with the exact trace (eq. 3)."""
        return self.transport(z, TO_DATA, context)

    def estimate(self, x: Data, context: Context | None, rngs: nnx.Rngs) -> Mapped:
        """(z, log |det ∂z/∂x|), beyond 16 dimensions a draw of the latter with one product for the trace (eq. 4)."""
        width = math.prod(self.event_shape)
        if width <= EXACT_UP_TO:
            return self.forward(x, context)
        v = 2 * noise.bernoulli(rngs, jnp.full((len(x), width), 0.5)).astype(x.dtype) - 1
        return self.transport(x, TO_BASE, context, lambda f, rows: hutchinson_trace(f, rows, v))

    def transport(self, x: Data, span: Span, context: Context | None, trace: Trace | None = None) -> Mapped:
        """x moved over a span of time, with the log-determinant (eq. 2)."""
        velocity, trace = self._velocity(context), trace or exact_trace
        rows = x.reshape(len(x), -1)

        def derivative(y: Rows, t: PerRow) -> Rows:
            dx, dlog_det = trace(lambda rows: velocity(rows, t), y[:, :-1])
            return jnp.concatenate([dx, dlog_det[:, None]], -1)

        moved = self._solve(derivative, jnp.concatenate([rows, jnp.zeros_like(rows[:, :1])], -1), span)
        return Mapped(moved[:, :-1].reshape(x.shape), moved[:, -1])

    def sample(self, z: Data, context: Context | None = None) -> Data:
        """x alone, which needs no trace."""
        return self._solve(self._velocity(context), z.reshape(len(z), -1), TO_DATA).reshape(z.shape)

    def _velocity(self, context: Context | None) -> Derivative:
        def velocity(rows: Rows, t: PerRow) -> Rows:
            moved = self.field(rows.reshape(len(rows), *self.event_shape), t, context)
            return moved.reshape(rows.shape).astype(rows.dtype)  # a field may compute in fewer bits

        return velocity

    def _solve(self, derivative: Derivative, y: Rows, span: Span) -> Rows:
        if not self.deterministic:
            return rk4(derivative, y, span, self.n_steps)
        return dopri5(derivative, y, span, tolerance=self.tolerance, max_steps=self.max_steps)


def exact_trace(f: Callable[[Rows], Rows], x: Rows) -> tuple[Rows, PerRow]:
    """f(x) and tr ∂f/∂x of each row (eq. 3)."""
    width = x.shape[-1]
    directions = jnp.broadcast_to(jnp.eye(width, dtype=x.dtype)[:, None], (width, *x.shape))
    value, pushed = jax.vmap(lambda e: jax.jvp(f, (x,), (e,)), out_axes=(None, 0))(directions)
    return value, jnp.einsum("dbd->b", pushed)  # eq. 3


def hutchinson_trace(f: Callable[[Rows], Rows], x: Rows, v: Rows) -> tuple[Rows, PerRow]:
    """f(x) and vᵀ (∂f/∂x) v of each row, whose mean over v is the trace (eq. 4)."""
    value, pushed = jax.jvp(f, (x,), (v,))
    return value, (v * pushed).sum(-1)  # eq. 4


def rk4(f: Derivative, y: Rows, span: Span, n_steps: int) -> Rows:
    """y at the end of the span, in `n_steps` equal steps (eq. 5)."""
    start, end = span
    h = (end - start) / n_steps
    tableau = (jnp.asarray([0, 0.5, 0.5, 1], y.dtype), jnp.asarray([1, 2, 2, 1], y.dtype) / 6)

    def step(y: Rows, t: Float[Array, ""]) -> tuple[Rows, None]:
        def stage(carry: tuple[Rows, Rows], row: tuple[Array, Array]) -> tuple[tuple[Rows, Rows], None]:
            k, total = carry
            c, weight = row
            k = f(y + c * h * k, jnp.full(len(y), t + c * h))
            return (k, total + weight * k), None

        # A loop over the stages, so that the field is compiled once.
        (_, total), _ = jax.lax.scan(stage, (jnp.zeros_like(y), jnp.zeros_like(y)), tableau)
        return y + h * total, None  # eq. 5

    return jax.lax.scan(step, y, start + h * jnp.arange(n_steps, dtype=y.dtype))[0]


def dopri5(f: Derivative, y: Rows, span: Span, *, tolerance: float, max_steps: int) -> Rows:
    """y at the end of the span, within the tolerance (eq. 6). Rows that ran out of steps are NaN in a trace.

    Raises:
        ValueError: outside a trace, a row ran out of steps.
    """
    start, end = span

    def slope(y: Rows, t: PerRow) -> Rows:
        return (end - start) * f(y, start + (end - start) * t)

    t = jnp.zeros(len(y), y.dtype)
    first = Solution(y, t, jnp.full_like(t, FIRST_STEP), slope(y, t), jnp.zeros((), jnp.int32))
    last = jax.lax.while_loop(
        lambda s: (s.t < 1).any() & (s.tries < max_steps), lambda s: attempt(slope, s, tolerance), first
    )
    check_reached(last, span, tolerance)
    return jnp.where((last.t < 1)[:, None], jnp.nan, last.y)


def attempt(f: Derivative, s: Solution, tolerance: float) -> Solution:
    """One step of each row, kept where its error is small enough (eq. 6)."""
    h = jnp.minimum(s.h, 1 - s.t)

    def stage(slopes: Array, row: tuple[Array, Array, Array]) -> tuple[Array, Rows]:
        weights, c, i = row
        y = s.y + h[:, None] * jnp.tensordot(weights, slopes, 1)
        return slopes.at[i].set(f(y, s.t + c * h)), y

    # A loop over the stages, so that the field is compiled once.
    none = jnp.zeros((len(ERROR), *s.y.shape), s.y.dtype).at[0].set(s.slope)
    tableau = (jnp.asarray(A, s.y.dtype), jnp.asarray(C, s.y.dtype), jnp.arange(1, len(ERROR)))
    slopes, arguments = jax.lax.scan(stage, none, tableau)
    y, e = arguments[-1], h[:, None] * jnp.tensordot(jnp.asarray(ERROR, s.y.dtype), slopes, 1)
    # The size of steps has no gradient: the derivative of a solution is that of the steps that were taken.
    scaled = jax.lax.stop_gradient(e / (tolerance + tolerance * jnp.maximum(jnp.abs(s.y), jnp.abs(y))))
    size = jnp.sqrt((scaled**2).mean(-1))
    good = size <= 1  # eq. 6
    factor = jnp.where(jnp.isfinite(size), jnp.clip(0.9 * jnp.maximum(size, 1e-10) ** -0.2, 0.2, 10.0), 0.2)
    return Solution(
        y=jnp.where(good[:, None], y, s.y),
        t=jnp.where(good, jnp.where(s.h >= 1 - s.t, 1.0, s.t + h), s.t),
        h=jnp.where(s.t < 1, h * factor, s.h),
        slope=jnp.where(good[:, None], slopes[-1], s.slope),
        tries=s.tries + 1,
    )


def check_reached(last: Solution, span: Span, tolerance: float) -> None:
    """Refuse a solution that stopped on the way; in a trace there is nothing to look at."""
    if isinstance(last.t, Tracer) or not bool((last.t < 1).any()):
        return
    start, end = span
    at = start + (end - start) * float(last.t.min())
    raise ValueError(
        f"ODE: expected to reach t = {end:g} at tolerance {tolerance:g}, got to t = {at:.3g} in {int(last.tries)} "
        f"steps ({int((last.t < 1).sum())} of {len(last.t)} rows). Raise max_steps or the tolerance."
    )
