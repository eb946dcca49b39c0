"""From levels to the real line: how discrete data get a density.

    Dequantise   x + Δu, Δ = 1/(L − 1), u ~ U[0, 1)^D: levels 0, Δ, …, 1 become cells of width Δ [1]             (1)
    Rescale      z = a x + b,                    log-det  D log |a|                                              (2)
    Logit        z = logit(α + (1 − 2α) x),      log-det  Σ log (1 − 2α) − log p − log (1 − p), p = σ(z) [2]      (3)
Of data x in L levels, bits per dimension count all of them: −(log p(z) + Σ log-dets + D log Δ) / (D log 2).

References:
    [1] Theis, van den Oord & Bethge, A note on the evaluation of generative models, 2015, arXiv:1511.01844
    [2] Dinh, Sohl-Dickstein & Bengio, Density estimation using Real NVP, 2016, arXiv:1605.08803
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from artifex.core.prob import noise
from artifex.core.prob.gaussian import over_event
from artifex.flow.bijector import Context, Data, Event, Fast, Mapped


@dataclass(frozen=True)
class Dequantise:
    """Noise that fills the gaps between levels, and the way back (eq. 1)."""

    levels: int

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise ValueError(
                f"Dequantise: expected 'levels' >= 2, got {self.levels}. Give the number of values that a pixel can "
                "take: 256 for bytes."
            )

    def __call__(self, x: Data, rngs: nnx.Rngs) -> Mapped:
        """(x + Δu, D log Δ): the density of the former times the volume of a cell bounds the mass of x."""
        width = 1 / (self.levels - 1)
        log_volume = math.prod(x.shape[1:]) * math.log(width)
        noisy = x + width * noise.uniform(rngs, x.shape, x.dtype)  # eq. 1
        return Mapped(noisy, jnp.full(len(x), log_volume, x.dtype))

    def restore(self, x: Data) -> Data:
        """The level of the cell that x lies in."""
        steps = self.levels - 1
        return jnp.clip(jnp.floor(x * steps), 0, steps) / steps


class Rescale(nnx.Module):
    """a x + b with fixed numbers (eq. 2)."""

    fast: Fast = "both"

    def __init__(self, event_shape: Event, scale: float, shift: float = 0.0) -> None:
        self.event_shape = event_shape
        self.scale, self.shift = scale, shift

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """a x + b."""
        return Mapped(self.scale * x + self.shift, jnp.full(len(x), self._log_det(), x.dtype))

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """(z − b) / a."""
        return Mapped((z - self.shift) / self.scale, jnp.full(len(z), -self._log_det(), z.dtype))

    def _log_det(self) -> float:
        return math.prod(self.event_shape) * math.log(abs(self.scale))


def from_levels(event_shape: Event, levels: int, low: float = 0.0) -> Rescale:
    """Dequantised data in [0, 1 + Δ) to [low, low + 1)."""
    return Rescale(event_shape, (levels - 1) / levels, low)


class Logit(nnx.Module):
    """[0, 1] to the real line, its ends a distance of α from infinity (eq. 3).

    The support is a little wider than [0, 1]: from −α / (1 − 2α) to (1 − α) / (1 − 2α).
    """

    fast: Fast = "both"

    def __init__(self, event_shape: Event, alpha: float = 0.05) -> None:
        if not 0 < alpha < 0.5:
            raise ValueError(
                f"Logit: expected 0 < 'alpha' < 1/2, got {alpha}. With 0 the ends of [0, 1] go to infinity; the paper "
                "has 0.05."
            )
        self.event_shape = event_shape
        self.alpha = alpha

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """logit(α + (1 − 2α) x), and a log-determinant of −∞ where x lies outside."""
        p = self.alpha + (1 - 2 * self.alpha) * x  # eq. 3
        inside = (p > 0) & (p < 1)
        p = jnp.where(inside, p, 0.5)  # before the logarithms, whose gradients would be NaN
        z = jnp.log(p) - jnp.log1p(-p)
        log_det = over_event(math.log(1 - 2 * self.alpha) - jnp.log(p) - jnp.log1p(-p))
        return Mapped(z, jnp.where(inside.reshape(len(x), -1).all(-1), log_det, -jnp.inf))

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """(σ(z) − α) / (1 − 2α)."""
        x = (jax.nn.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)
        return Mapped(x, over_event(jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z) - math.log(1 - 2 * self.alpha)))
