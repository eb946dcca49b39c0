"""Numbers and places as vectors.

    ω_k = P^(−k / K)                     frequencies, k = 0 … n/2 − 1, P the longest period                        (1)
    e(t) = [sin ω t, cos ω t]            of a number t, n entries                                                 (2)
    e(t) = [sin 2π f t, cos 2π f t]      with f_k ~ N(0, s²), drawn once                                          (3)
    e(i, j) = [e(j), e(i)]               of a place on a grid, half of the entries for each side                  (4)
K = n/2, or n/2 − 1 where the last frequency is to be 1/P exactly, as [2] has it.

References:
    [1] Vaswani et al., Attention Is All You Need, 2017, arXiv:1706.03762
    [2] Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239
    [3] Tancik et al., Fourier Features Let Networks Learn High Frequency Functions, 2020, arXiv:2006.10739
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

Numbers = Shaped[Array, " batch"]
PERIOD = 10_000.0


def sinusoidal(
    t: Numbers, width: int, *, endpoint: bool = False, cosine_first: bool = False
) -> Float[Array, "batch width"]:
    """e(t) with fixed frequencies (eq. 2), in float32 because bfloat16 has no thousand steps.

    Args:
        endpoint: whether the last frequency is 1/P (eq. 1).
        cosine_first: [cos, sin] instead of [sin, cos].
    """
    half = width // 2
    frequencies = PERIOD ** (-np.arange(half) / (half - endpoint))  # eq. 1
    angle = t.astype(jnp.float32)[:, None] * frequencies.astype(np.float32)
    parts = (jnp.sin(angle), jnp.cos(angle))
    return jnp.concatenate(parts[::-1] if cosine_first else parts, axis=-1)


def fourier(t: Numbers, width: int, *, scale: float = 16.0, seed: int = 0) -> Float[Array, "batch width"]:
    """e(t) with random frequencies of deviation `scale` that are the same in every run (eq. 3)."""
    frequencies = scale * np.random.default_rng(seed).standard_normal(width // 2)
    angle = 2 * np.pi * t.astype(jnp.float32)[:, None] * frequencies.astype(np.float32)
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def grid_positions(rows: int, columns: int, width: int) -> Float[np.ndarray, "place width"]:
    """e(i, j) of the places of a grid, row by row (eq. 4)."""
    frequencies = PERIOD ** (-np.arange(width // 4) / (width // 4))  # eq. 1
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    angles = [place.reshape(-1, 1) * frequencies for place in (j, i)]
    return np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=-1).astype(np.float32)
