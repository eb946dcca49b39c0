"""Gaussians with independent entries.

    log N(x; μ, σ²) = −½ Σᵢ [ ((xᵢ − μᵢ)/σᵢ)² + 2 log σᵢ + log 2π ]                                             (1)
    KL(q ‖ p) = Σᵢ [ log σₚᵢ − log σ_qᵢ + (σ_qᵢ² + (μ_qᵢ − μₚᵢ)²) / (2 σₚᵢ²) − ½ ]                                (2)
    KL(q ‖ N(0, I)) = ½ Σᵢ (μᵢ² + σᵢ² − 1 − log σᵢ²)                                                             (3)
    q·p ∝ N(μ, σ²),  σ⁻² = σ_q⁻² + σₚ⁻²,  μ = σ² (μ_q σ_q⁻² + μₚ σₚ⁻²)                                           (4)
Sums run over all axes but the first.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.prob import noise

LOG_2PI = math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """Mean and log standard deviation of each entry."""

    mean: Float[Array, "batch *event"]
    log_std: Float[Array, "batch *event"]


def over_event(values: Float[Array, "batch *event"]) -> Float[Array, " batch"]:
    """The sum of each row."""
    return values.reshape(len(values), -1).sum(-1)


def log_prob(q: Gaussian, x: Float[Array, "batch *event"]) -> Float[Array, " batch"]:
    """log q(x) in nats, one value per row (eq. 1)."""
    return over_event(-0.5 * ((x - q.mean) * jnp.exp(-q.log_std)) ** 2 - q.log_std - 0.5 * LOG_2PI)


def sample(q: Gaussian, rngs: nnx.Rngs) -> Float[Array, "batch *event"]:
    """μ + σ ε, with noise of its own for each row."""
    return q.mean + jnp.exp(q.log_std) * noise.normal(rngs, q.mean.shape, q.mean.dtype)


def kl_entries(q: Gaussian, p: Gaussian) -> Float[Array, "batch *event"]:
    """The terms of KL(q ‖ p) in nats, one per entry (eq. 2)."""
    ratio = jnp.exp(2 * (q.log_std - p.log_std)) + ((q.mean - p.mean) * jnp.exp(-p.log_std)) ** 2
    return p.log_std - q.log_std + 0.5 * (ratio - 1)


def kl(q: Gaussian, p: Gaussian) -> Float[Array, " batch"]:
    """KL(q ‖ p) in nats, one value per row (eq. 2)."""
    return over_event(kl_entries(q, p))


def kl_to_standard_normal(q: Gaussian) -> Float[Array, " batch"]:
    """KL(q ‖ N(0, I)) in nats, one value per row (eq. 3)."""
    return over_event(0.5 * (q.mean**2 + jnp.exp(2 * q.log_std) - 1 - 2 * q.log_std))


def standard_like(q: Gaussian) -> Gaussian:
    """N(0, I) of the shape of q."""
    return Gaussian(jnp.zeros_like(q.mean), jnp.zeros_like(q.log_std))


def product(q: Gaussian, p: Gaussian) -> Gaussian:
    """The normalised product of two Gaussians, their precisions added (eq. 4)."""
    log_precision = jnp.logaddexp(-2 * q.log_std, -2 * p.log_std)
    mean = q.mean * jnp.exp(-2 * q.log_std - log_precision) + p.mean * jnp.exp(-2 * p.log_std - log_precision)
    return Gaussian(mean, -0.5 * log_precision)
