"""A logistic density cut into equal bins, for numbers that come in levels.

With levels v_0 < … < v_{L−1} from low to high, δ half of their distance, and F the logistic function,

    P(v_k) = F((v_k + δ − μ)/s) − F((v_k − δ − μ)/s)                                                            (1)
where the first bin reaches down to −∞ and the last up to +∞, so that the levels' probabilities add up to 1. In the
middle, with a = (v_k + δ − μ)/s, b = (v_k − δ − μ)/s and σ the logistic function,

    log P = log σ(a) + log σ(−b) + log(1 − e^{b − a})                                                           (2)
which keeps its digits where both terms of (1) are near 0 or near 1.

References:
    [1] Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, 2016, arXiv:1606.04934
    [2] Salimans et al., PixelCNN++, 2017, arXiv:1701.05517
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.prob import noise


def log_prob(
    x: Float[Array, "*event"],
    mean: Float[Array, "*event"],
    log_scale: Float[Array, "*event"],
    *,
    levels: int,
    low: float = 0.0,
    high: float = 1.0,
) -> Float[Array, "*event"]:
    """log P(x) in nats, one value per entry (eq. 1, by eq. 2)."""
    half = 0.5 * (high - low) / (levels - 1)
    inverse = jnp.exp(-log_scale)
    a, b = (x + half - mean) * inverse, (x - half - mean) * inverse
    middle = jax.nn.log_sigmoid(a) + jax.nn.log_sigmoid(-b) + jnp.log(-jnp.expm1(-2 * half * inverse))
    upper = jnp.where(x > high - half, jax.nn.log_sigmoid(-b), middle)
    return jnp.where(x < low + half, jax.nn.log_sigmoid(a), upper)


def sample(
    rngs: nnx.Rngs,
    mean: Float[Array, "batch *event"],
    log_scale: Float[Array, "batch *event"],
    *,
    levels: int,
    low: float = 0.0,
    high: float = 1.0,
) -> Float[Array, "batch *event"]:
    """A level for each entry: a logistic number, rounded to the nearest level."""
    tiny = jnp.finfo(mean.dtype).tiny
    u = jnp.clip(noise.uniform(rngs, mean.shape, mean.dtype), tiny, 1 - jnp.finfo(mean.dtype).epsneg)
    x = mean + jnp.exp(log_scale) * (jnp.log(u) - jnp.log1p(-u))
    step = (high - low) / (levels - 1)
    return low + step * jnp.clip(jnp.round((x - low) / step), 0, levels - 1)
