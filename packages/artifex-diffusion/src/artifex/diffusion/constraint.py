"""Constraints on the denoised estimate: maps from one denoiser to another.

    static threshold    D ← clip(D, low, high)                                                                   (1)
    dynamic threshold   D ← clip(D, −s, s)/s,   s the q-quantile of |D| in a row, at least 1 [1]                 (2)
    inpainting          D ← m ⊙ known + (1 − m) ⊙ D, so that what is known ends as it is                         (3)
None of them acts unless asked for: a clipped estimate is another model.

References:
    [1] Saharia et al., Photorealistic Text-to-Image Diffusion Models, 2022, arXiv:2205.11487
    [2] Lugmayr et al., RePaint, 2022, arXiv:2201.09865
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.diffusion.prediction import Data, Denoise, Time


def static_threshold(denoise: Denoise, low: float = -1.0, high: float = 1.0) -> Denoise:
    """Estimates within the range of the data (eq. 1)."""
    if low >= high:
        raise ValueError(f"static_threshold: expected low < high, got {low} and {high}. Give the range of the data.")
    return lambda xt, t: jnp.clip(denoise(xt, t), low, high)


def dynamic_threshold(denoise: Denoise, q: float = 0.995) -> Denoise:
    """Estimates of [−1, 1] data, a row that leaves it scaled back as a whole (eq. 2)."""
    if not 0 < q <= 1:
        raise ValueError(f"dynamic_threshold: expected 0 < 'q' <= 1, got {q}. 0.995 is the published value.")

    def constrain(xt: Data, t: Time) -> Data:
        x0 = denoise(xt, t)
        # Flat, because a quantile over several axes would reshape anyway.
        size = jnp.quantile(jnp.abs(x0.reshape(len(x0), -1)), q, axis=-1)
        size = jnp.maximum(size, 1.0).reshape(-1, *[1] * (x0.ndim - 1))
        return jnp.clip(x0, -size, size) / size

    return constrain


def inpaint(denoise: Denoise, known: Data, mask: Float[Array, "..."]) -> Denoise:
    """Estimates that agree with `known` where `mask` is 1 (eq. 3)."""
    return lambda xt, t: mask * known + (1 - mask) * denoise(xt, t)
