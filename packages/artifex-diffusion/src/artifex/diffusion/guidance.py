"""Guidance: maps from one denoiser to another.

    classifier-free [1]   D = D_∅ + w (D_y − D_∅): w = 0 ignores y, w = 1 is plain                               (1)
        in an interval of t only [2];  with its deviation brought back towards that of D_y [3]                   (2)
    classifier [4]        score + s ∇ log p(y|x_t), that is D + s (σ²/α) ∇ log p(y|x_t)                          (3)
    autoguidance [5]      (1) with a weaker model of the same data in the place of D_∅
    projected [6]         of D_y − D_∅ only the part orthogonal to D_y, its length bounded                       (4)
Denoised estimates are affine in the score, so (1) in x₀ is (1) in every prediction.

Differs: (2) compares deviations of x₀, where [3] takes the network's output; (4) has no momentum, which would make a
denoiser depend on what it was asked before.

References:
    [1] Ho & Salimans, Classifier-Free Diffusion Guidance, 2022, arXiv:2207.12598
    [2] Kynkäänniemi et al., Applying Guidance in a Limited Interval, 2024, arXiv:2404.07724
    [3] Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, 2023, arXiv:2305.08891
    [4] Dhariwal & Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, arXiv:2105.05233
    [5] Karras et al., Guiding a Diffusion Model with a Bad Version of Itself, 2024, arXiv:2406.02507
    [6] Sadat et al., Eliminating Oversaturation and Artifacts of High Guidance Scales, 2024, arXiv:2410.02416
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from artifex.diffusion.prediction import Condition, Data, Denoise, Denoiser, Time, levels
from artifex.diffusion.process import Schedule

Scale = Float[Array, ""] | float
LogProb = Callable[[Array, Time], Array]  # (xt, t) -> log p(y|x_t) of each row


class Pair(NamedTuple):
    """Two estimates of x₀ for the same noisy data."""

    conditional: Data
    null: Data


def cfg(
    denoise: Denoise,
    null: Denoise,
    scale: Scale,
    *,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
    channels: int | None = None,
) -> Denoise:
    """Classifier-free guidance (eq. 1, 2).

    Args:
        interval: times within which guidance acts; outside only `denoise` is called.
        rescale: share of the way back to the deviation of the conditional estimate.
        channels: guide only that many first channels, as the published DiT samples do.
    """
    return guided(
        denoise, lambda xt, t: Pair(denoise(xt, t), null(xt, t)), _combine(scale, rescale, channels), interval
    )


def labelled_cfg(
    denoiser: Denoiser,
    labels: tuple[Condition, Condition],
    scale: Scale,
    *,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
) -> Denoise:
    """`cfg` of one denoiser with labels (y, null), both estimates from one doubled batch."""
    y, null = labels

    def pair(xt: Data, t: Time) -> Pair:
        both = denoiser(jnp.concatenate([xt, xt]), t, jnp.concatenate([y, null]))
        return Pair(*jnp.split(both, 2))

    return guided(lambda xt, t: denoiser(xt, t, y), pair, _combine(scale, rescale, None), interval)


def guided(
    denoise: Denoise, pair: Callable[[Data, Time], Pair], combine: Callable[[Pair], Data], interval: tuple[float, float]
) -> Denoise:
    """`combine` of the pair within the interval, `denoise` outside."""
    low, high = interval
    if not 0 <= low < high <= 1:
        raise ValueError(
            f"guidance: expected an 'interval' with 0 <= low < high <= 1, got {interval}. (0, 1) is always."
        )
    if (low, high) == (0, 1):
        return lambda xt, t: combine(pair(xt, t))

    def map_within(xt: Data, t: Time) -> Data:
        inside = (t >= low) & (t <= high)
        return jax.lax.cond(inside, lambda x: combine(pair(x, t)), lambda x: denoise(x, t), xt)

    return map_within


def _combine(scale: Scale, rescale: float, channels: int | None) -> Callable[[Pair], Data]:
    if not 0 <= rescale <= 1:
        raise ValueError(f"guidance: expected 'rescale' in [0, 1], got {rescale}. 0 leaves the deviation as it is.")

    def combine(pair: Pair) -> Data:
        x0 = pair.null + scale * (pair.conditional - pair.null)  # eq. 1
        if rescale:
            factor = deviation(pair.conditional) / deviation(x0)
            x0 = x0 * (rescale * factor + 1 - rescale)  # eq. 2
        if channels is not None:
            x0 = jnp.concatenate([x0[..., :channels], pair.conditional[..., channels:]], axis=-1)
        return x0

    return combine


def classifier_guidance(denoise: Denoise, log_prob: LogProb, scale: Scale, schedule: Schedule) -> Denoise:
    """Guidance by a classifier of noisy data (eq. 3); `log_prob` is in nats, one value per row."""

    def guide(xt: Data, t: Time) -> Data:
        alpha, sigma = levels(schedule, t, xt)
        # Of the sum, not of the mean: each row's gradient is its own whatever the batch.
        slope = jax.grad(lambda x: log_prob(x, t).sum())(xt)
        return denoise(xt, t) + scale * sigma**2 / alpha * slope

    return guide


def autoguidance(
    denoise: Denoise, weak: Denoise, scale: Scale, *, interval: tuple[float, float] = (0.0, 1.0)
) -> Denoise:
    """Guidance away from a weaker model of the same data (eq. 1) [5]."""
    return cfg(denoise, weak, scale, interval=interval)


def apg(
    denoise: Denoise, null: Denoise, scale: Scale, *, parallel: float = 0.0, radius: float | None = None
) -> Denoise:
    """Projected guidance (eq. 4).

    Args:
        parallel: share of the part along D_y that is kept; 1 is plain guidance.
        radius: largest length of D_y − D_∅ in a row; None for any.
    """

    def guide(xt: Data, t: Time) -> Data:
        x0 = denoise(xt, t)
        change = x0 - null(xt, t)
        if radius is not None:
            change = change * jnp.minimum(1.0, radius / jnp.sqrt(inner(change, change)))
        along = inner(change, x0) / inner(x0, x0) * x0
        return x0 + (scale - 1) * (change - (1 - parallel) * along)

    return guide


def inner(a: Data, b: Data) -> Float[Array, "batch ..."]:
    """The inner product of each row, shaped to multiply it."""
    return (a * b).sum(range(1, a.ndim), keepdims=True)


def deviation(x: Data) -> Float[Array, "batch ..."]:
    """The standard deviation of each row's entries, shaped to multiply it."""
    return x.std(range(1, x.ndim), keepdims=True)
