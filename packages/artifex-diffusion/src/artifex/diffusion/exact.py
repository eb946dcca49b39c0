"""Mixtures of Gaussians under noise: data whose denoiser, score and density have closed forms.

    p(x₀) = 1/K Σ_k N(m_k, diag V),     p_t(x) = 1/K Σ_k N(α m_k, diag S),   S = α² V + σ²                       (1)
    E[x₀|x_t] = m̄ + α V/S (x_t − α m̄),   m̄ = Σ_k p(k|x_t) m_k                                                   (2)
With one component the flow is linear, and ends where
    x₁ = α₁ m + √(S₁/S₀) (x₀ − α₀ m)                                                                             (3)
By Tweedie's formula [1] the score is (α E[x₀|x_t] − x_t)/σ². Solvers and losses are measured on these mixtures, and a
new idea can be tried on them before any network is trained.

References:
    [1] Efron, Tweedie's Formula and Selection Bias, 2011, doi:10.1198/jasa.2011.tm11181
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.diffusion.prediction import Denoise, levels
from artifex.diffusion.process import Schedule

Points = Float[Array, "batch d"]
Scale = Float[Array, ""] | Float[Array, "batch 1"] | float


class Mixture(NamedTuple):
    """Equal Gaussians around the means."""

    means: Float[Array, "k d"] | Float[np.ndarray, "k d"]
    variance: Float[Array, " d"] | Float[np.ndarray, " d"]  # V

    def denoise(self, x: Points, alpha: Scale, sigma: Scale) -> Points:
        """E[x₀|x_t] (eq. 2)."""
        total = alpha**2 * self.variance + sigma**2
        mean = jax.nn.softmax(self._logits(x, alpha, sigma)) @ jnp.asarray(self.means, x.dtype)
        return mean + alpha * self.variance / total * (x - alpha * mean)  # eq. 2

    def log_prob(self, x: Points, alpha: Scale = 1.0, sigma: Scale = 0.0) -> Float[Array, " batch"]:
        """log p_t(x) in nats (eq. 1)."""
        total = alpha**2 * self.variance + sigma**2
        k, d = self.means.shape
        norm = 0.5 * jnp.log(total).sum() + 0.5 * d * math.log(2 * math.pi) + math.log(k)
        return jax.nn.logsumexp(self._logits(x, alpha, sigma), axis=-1) - norm

    def denoiser(self, schedule: Schedule) -> Denoise:
        """`denoise(xt, t)` on a schedule."""

        def denoise(xt: Points, t: Float[Array, ""] | Float[Array, " batch"] | float) -> Points:
            return self.denoise(xt, *levels(schedule, t, xt))

        return denoise

    def _logits(self, x: Points, alpha: Scale, sigma: Scale) -> Float[Array, "batch k"]:
        total = alpha**2 * self.variance + sigma**2
        centres = jnp.asarray(alpha)[..., None] * jnp.asarray(self.means, x.dtype)  # [k, d], or [batch, k, d]
        return -0.5 * ((x[:, None] - centres) ** 2 / jnp.expand_dims(total, -2)).sum(-1)
