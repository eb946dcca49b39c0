"""Affine maps of one number, with the scales that the papers give them.

    Exponential   z = (x − μ) e^{−α},    α = b(a)                                                MAF [1]         (1)
    Gate          z = σ x + (1 − σ) m,   σ = sigmoid(2 + b(s)),   b(a) = a / (1 + |a|/3)         IAF [2]         (2)
    Bounded       z = x e^{s} + t,       s = r tanh(ŝ), r learned for each number                RealNVP [3]     (3)
(2) is written for the direction that takes one pass, which in IAF is base to data. The logarithm of a scale is
bounded, because an unbounded one overflows in the direction that divides by it. b bends from the start: with
5 tanh(a/5) layers reach scales that no data ask for, and one point in ten thousand then outweighs all others.

References:
    [1] Papamakarios, Pavlakou & Murray, Masked Autoregressive Flow, 2017, arXiv:1705.07057
    [2] Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, 2016, arXiv:1606.04934
    [3] Dinh et al., Density estimation using Real NVP, 2017, arXiv:1605.08803
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.nn.init import constant
from artifex.flow.spline import Moved, Numbers, Params

STEEPEST = 3.0  # bound of |α|: a factor of 20 a layer
REACH = 2.0  # r at the start: from 1, Adam is long in reaching the scales that the columns of a table need


@dataclass(frozen=True)
class Exponential:
    """z = (x − μ) e^{−α} (eq. 1)."""

    n_params: int = 2

    def forward(self, x: Numbers, params: Params) -> Moved:
        """(z, −α)."""
        mu, a = apart(params)
        alpha = bounded(a)
        return Moved((x - mu) * jnp.exp(-alpha), -alpha)  # eq. 1

    def inverse(self, z: Numbers, params: Params) -> Moved:
        """(x, α)."""
        mu, a = apart(params)
        alpha = bounded(a)
        return Moved(z * jnp.exp(alpha) + mu, alpha)


@dataclass(frozen=True)
class Gate:
    """z = σ x + (1 − σ) m (eq. 2)."""

    n_params: int = 2
    open: float = 2.0  # a new gate lets most of x through; [2] gives 1 to 2

    def forward(self, x: Numbers, params: Params) -> Moved:
        """(z, log σ)."""
        m, a = apart(params)
        s = self.open + bounded(a)
        sigma = jax.nn.sigmoid(s)
        return Moved(sigma * x + (1 - sigma) * m, jax.nn.log_sigmoid(s))  # eq. 2

    def inverse(self, z: Numbers, params: Params) -> Moved:
        """(x, −log σ)."""
        m, a = apart(params)
        s = self.open + bounded(a)
        # 1/σ = 1 + e^-s, and (1 − σ)/σ = e^-s.
        return Moved(z + jnp.exp(-s) * (z - m), -jax.nn.log_sigmoid(s))


class Bounded(nnx.Module):
    """z = x e^{r tanh ŝ} + t (eq. 3), for `dim` numbers along the axis before the last."""

    def __init__(self, dim: int, *, rngs: nnx.Rngs) -> None:
        self.n_params = 2
        self.reach = nnx.Param(constant(REACH)(rngs.params(), (dim, 1)))  # r

    def forward(self, x: Numbers, params: Params) -> Moved:
        """(z, s)."""
        s = self._log_scale(params)
        return Moved(x * jnp.exp(s) + params[0], s)  # eq. 3

    def inverse(self, z: Numbers, params: Params) -> Moved:
        """(x, −s)."""
        s = self._log_scale(params)
        return Moved((z - params[0]) * jnp.exp(-s), -s)

    def _log_scale(self, params: Params) -> Float[Array, "*shape"]:
        return self.reach[...] * jnp.tanh(params[1])


def apart(params: Params) -> list[Numbers]:
    """The numbers of a map; split, not sliced, so that their gradients are joined as they are, without zeros to add."""
    return [part[0] for part in jnp.split(params, len(params))]


def bounded(a: Numbers) -> Numbers:
    """a itself near 0, and never beyond ± STEEPEST."""
    return a / (1 + jnp.abs(a) / STEEPEST)
