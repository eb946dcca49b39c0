"""How well pictures move with their content.

    EQ = 10 log₁₀ (4 / E (g(t z₀) − t g(z₀))²)   in dB, for pictures within [−1, 1]                               (1)
over pixels that both sides know. t z₀ asks the generator for the moved picture, t g(z₀) moves the picture itself:
    shift by s       x′[p] = Σ_q x[q] L(p − s − q),    L(v) = sinc(v) sinc(v/a) for |v| < a, Σ = 1                 (2)
    turn             x′ = L ∗ (turned (L ∗ x)),        on a grid of 4 times the rate                             (3)
    pseudo-turn      x″ = turned L ∗ (L ∗ x)           what (3) does to a spectrum, without turning it           (4)
A whole shift is exact under (2). A turned square of frequencies sticks out of the square that pixels can hold, so both
sides of (1) are held to what the two squares share: (3) for the picture, (4) for the generator's.

References:
    [1] Karras et al., Alias-Free Generative Adversarial Networks, 2021, arXiv:2106.12423, section 2.2, appendix E
    [2] Duchon, Lanczos Filtering in One and Two Dimensions, 1979
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from artifex.gan.filters import Resampling, resample, resampling_matrix

Image = Float[Array, "batch height width channel"]
Mask = Float[np.ndarray, "height width"]
Shift = tuple[float, float]
Render = Callable[[Shift, float], Image]  # (right and down in shares of the side, counterclockwise angle) -> pictures
REACH = 3  # a: entries on each side that L looks at
RATE = 4  # of the grid on which pictures turn


def lanczos(v: Float[Array, "..."]) -> Float[Array, "..."]:
    """L of eq. 2, not yet of sum 1."""
    return jnp.where(jnp.abs(v) < REACH, jnp.sinc(v) * jnp.sinc(v / REACH), 0)


def weights(at: Float[Array, " out"], n: int) -> Float[Array, "out n"]:
    """How places between n entries weigh them; each row has the sum 1."""
    raw = lanczos(at[:, None] - jnp.arange(n))
    total = raw.sum(1, keepdims=True)
    return raw / jnp.where(jnp.abs(total) < 0.5, 1, total)  # places beyond the border know nothing


def shift(x: Image, by: Shift) -> Image:
    """Pictures moved right and down by some pixels (eq. 2)."""
    across, down = (weights(jnp.arange(n) - s, n) for n, s in zip((x.shape[2], x.shape[1]), by, strict=True))
    return jnp.einsum("pi,qj,bijc->bpqc", down, across, x)


def turned_place(place: Float[Array, "2 ..."], angle: float | Float[Array, ""]) -> Float[Array, "2 ..."]:
    """Where a place (right, down) of a picture turned counterclockwise comes from."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([c * place[0] - s * place[1], s * place[0] + c * place[1]])


def taps_down() -> Float[np.ndarray, " tap"]:
    """L on the fine grid, of sum 1."""
    places = (np.arange(2 * REACH * RATE) + 0.5) / RATE - REACH
    taps = np.sinc(places) * np.sinc(places / REACH)
    return taps / taps.sum()


def fine_places(side: int) -> Float[np.ndarray, " fine"]:
    """Places of the fine grid that L looks at, in pixels about the centre."""
    n = (side - 1) * RATE + 2 * REACH * RATE
    return (np.arange(n) - (n - 1) / 2) / RATE


@jax.jit
def rotate(x: Image, angle: float | Float[Array, ""]) -> Image:
    """Pictures turned counterclockwise by some radians (eq. 3)."""
    side = x.shape[1]
    fine = fine_places(side)
    at = turned_place(jnp.stack(jnp.meshgrid(fine, fine)), angle) + (side - 1) / 2
    turned = jax.vmap(between, (0, None))(x, at)
    return resample(turned, _down(side))


def _down(side: int) -> Resampling:
    matrix = resampling_matrix(taps_down(), (len(fine_places(side)), side), down=RATE)[None]
    return Resampling(matrix, matrix)


def between(x: Float[Array, "height width channel"], at: Float[Array, "2 rows columns"]) -> Array:
    """L ∗ x at places (right, down), counted in entries; x goes on periodically, which masks leave out."""
    first = jnp.floor(at).astype(jnp.int32) - REACH + 1
    offsets = np.arange(2 * REACH)
    w = lanczos(at[..., None] - first[..., None] - offsets)
    w = w / w.sum(-1, keepdims=True)
    total = jnp.zeros((*at.shape[1:], x.shape[-1]))
    for i in offsets:
        row = jnp.zeros_like(total)
        for j in offsets:
            row += w[0, ..., j, None] * x[(first[1] + i) % x.shape[0], (first[0] + j) % x.shape[1]]
        total += w[1, ..., i, None] * row
    return total


@jax.jit
def pseudo_rotate(x: Image, angle: float | Float[Array, ""]) -> Image:
    """Pictures filtered as `rotate` filters them, in place (eq. 4)."""
    side = x.shape[1]
    fine = fine_places(side)
    up = weights(jnp.asarray(fine) + (side - 1) / 2, side)
    known = jnp.einsum("pi,qj,bijc->bpqc", up, up, x)
    half = math.ceil(REACH * math.sqrt(2) * RATE)
    tap = (jnp.arange(2 * half) + 0.5) / RATE - half / RATE
    v = turned_place(jnp.stack(jnp.meshgrid(tap, tap)), angle)
    kernel = lanczos(v[0]) * lanczos(v[1])
    return strided(known, kernel / kernel.sum(), side)


def strided(x: Image, kernel: Float[Array, "tap tap"], side: int) -> Float[Array, "batch side side channel"]:
    """Every fourth entry of x ∗ kernel, about the centre, channel by channel."""
    n, fine, _, channels = x.shape
    lone = jnp.moveaxis(x, -1, 1).reshape(n * channels, fine, fine, 1)
    pad = ((side - 1) * RATE + len(kernel) - fine) // 2
    y = jax.lax.conv_general_dilated(
        lone, kernel[:, :, None, None], (RATE, RATE), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jnp.moveaxis(y.reshape(n, channels, side, side), 1, -1)


def known_after_shift(side: int, by: Shift) -> Mask:
    """1 where a shifted picture is made of pixels alone."""
    at = [np.arange(side) - s for s in by]
    reach = [0 if s == round(s) else REACH - 1 for s in by]
    across, down = (((a >= r) & (a <= side - 1 - r)).astype(float) for a, r in zip(at, reach, strict=True))
    return down[:, None] * across


def known_after_turn(side: int, angle: float) -> Mask:
    """1 where a turned picture is made of pixels alone."""
    place = np.stack(np.meshgrid(*[np.arange(side) - (side - 1) / 2] * 2))
    limit = (side - 1) / 2 - REACH * (1 + math.sqrt(2))
    source = np.asarray(turned_place(jnp.asarray(place), angle))
    return (np.maximum(np.abs(place).max(0), np.abs(source).max(0)) <= limit).astype(float)


def decibels(pairs: Iterable[tuple[Image, Image, Mask]]) -> float:
    """EQ of pictures and what they should be, over the pixels of the masks (eq. 1)."""
    error = count = 0.0
    for one, other, mask in pairs:
        squares = (np.asarray(one, float) - np.asarray(other, float)) ** 2 * mask[None, :, :, None]
        error, count = error + squares.sum(), count + mask.sum() * len(squares) * squares.shape[-1]
    return 10 * math.log10(4 * count / error)


def translation_equivariance(render: Render, shifts: Iterable[Shift]) -> float:
    """EQ-T in dB over these shifts, in pixels."""
    x = render((0.0, 0.0), 0.0)
    side = x.shape[1]
    return decibels(
        (render((by[0] / side, by[1] / side), 0.0), shift(x, by), known_after_shift(side, by)) for by in shifts
    )


def rotation_equivariance(render: Render, angles: Iterable[float]) -> float:
    """EQ-R in dB over these angles, in radians."""
    x = render((0.0, 0.0), 0.0)
    return decibels(
        (pseudo_rotate(render((0.0, 0.0), angle), angle), rotate(x, angle), known_after_turn(x.shape[1], angle))
        for angle in angles
    )
