"""Continuous normalizing flow.

    dx/dt = f(x, t, c),    x(0) = data,    z = x(1),    z ~ N(0, I)                                              (1)
    log p(x) = log N(z; 0, I) + ∫₀¹ tr ∂f/∂x dt                                                                  (2)
    f: layers of h ↦ tanh( (W h + b) σ(U [t, c] + d) + V [t, c] ), the last one without tanh                     (3)
The map is continuous in time, unlike the splines of `neural_spline`, which are steps. Training takes `n_steps` of RK4
and, beyond 16 dimensions, one draw of the trace; evaluation solves to a tolerance with the exact trace (see `ode`), so
that log p of a row is one number. Sampling needs no trace.

Differs: training solves with fixed steps, where [2] solves adaptively with the adjoint method.

References:
    [1] Chen, Rubanova, Bettencourt & Duvenaud, Neural Ordinary Differential Equations, 2018, arXiv:1806.07366
    [2] Grathwohl et al., FFJORD: Free-form Continuous Dynamics, 2019, arXiv:1810.01367
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.nn.init import lecun_normal, zeros
from artifex.flow.base import StandardNormal
from artifex.flow.bijector import Context, PerRow
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.ode import ODE

Vector = Float[Array, "batch width"]


@dataclass(frozen=True, kw_only=True)
class CNFConfig(FlowConfig):
    """A continuous flow of vectors."""

    dim: int = 2  # numbers in x
    hidden_dims: tuple[int, ...] = (64, 64, 64)
    n_steps: int = 20  # of RK4, in training
    tolerance: float = 1e-5  # absolute and relative, in evaluation
    max_steps: int = 1000  # tries in evaluation

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tolerance <= 0 or self.n_steps < 1 or self.max_steps < 1:
            raise ValueError(
                f"CNFConfig: expected 'tolerance' > 0, 'n_steps' and 'max_steps' >= 1, got {self.tolerance}, "
                f"{self.n_steps} and {self.max_steps}. The defaults are 1e-5, 20 and 1000."
            )


class CNF(Flow):
    """A continuous normalizing flow."""

    def __init__(self, config: CNFConfig, *, rngs: nnx.Rngs) -> None:
        ode = ODE(
            VectorField(config, rngs=rngs),
            (config.dim,),
            n_steps=config.n_steps,
            tolerance=config.tolerance,
            max_steps=config.max_steps,
        )
        super().__init__(config, StandardNormal((config.dim,), config.dtype), ode, rngs=rngs)


class VectorField(nnx.Module):
    """f of (3)."""

    def __init__(self, config: CNFConfig, *, rngs: nnx.Rngs) -> None:
        widths = (config.dim, *config.hidden_dims, config.dim)
        self.layers = nnx.List(
            ConcatSquash(i, o, 1 + config.context_dim, rngs=rngs) for i, o in itertools.pairwise(widths)
        )

    def __call__(self, x: Vector, t: PerRow, context: Context | None = None) -> Vector:
        """The velocity of each row (eq. 3)."""
        given = t[:, None] if context is None else jnp.concatenate([t[:, None], context.astype(t.dtype)], -1)
        for layer in list(self.layers)[:-1]:
            x = jax.nn.tanh(layer(x, given))
        return self.layers[-1](x, given)


class ConcatSquash(nnx.Module):
    """A linear layer that time and context open, close and shift (eq. 3) [2]."""

    def __init__(self, inputs: int, outputs: int, n_given: int, *, rngs: nnx.Rngs) -> None:
        options = {"kernel_init": lecun_normal(), "rngs": rngs}
        self.linear = nnx.Linear(inputs, outputs, bias_init=zeros, **options)
        self.gate = nnx.Linear(n_given, outputs, bias_init=zeros, **options)
        self.shift = nnx.Linear(n_given, outputs, use_bias=False, **options)

    def __call__(self, h: Vector, given: Float[Array, "batch given"]) -> Float[Array, "batch out"]:
        """(W h + b) σ(U [t, c] + d) + V [t, c]."""
        return self.linear(h) * jax.nn.sigmoid(self.gate(given)) + self.shift(given)  # eq. 3
