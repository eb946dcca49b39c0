"""Augmentation of what a critic sees, data and fakes alike, through which gradients flow.

    DiffAugment [1]   every row: colour, shift by up to 1/8 of the side, a square of half the side cut out
    ADA [2]           each change below with probability p, where p follows how far the critic overfits:
                          p ← p + sign(E sign D(x) − target) · n / 500 000,   within [0, 1]                      (1)
    place   flip, quarter turns, whole shifts, scale 2^(0.2 ε), turn, stretch 2^(0.2 ε), turn, shift 0.125 ε
    colour  brightness 0.2 ε, contrast 2^(0.5 ε), luma flip, hue turn, saturation 2^ε          ε ~ N(0, 1)
A turn has the probability 1 − √(1 − p), so that one of both happens with p. The changes of place make one matrix
T from places of the result to places of x; x is sampled at T q on a grid of twice the rate, between low-pass filters,
and reflected at its borders,
    x′ = D [U x](T q).                                                                                           (2)

Differs:
    [2] filters with the wavelet sym6; here with a Kaiser filter of 12 taps (`filters`).
    [2] moves p at each fourth step by the mean over four; here each step moves it.

References:
    [1] Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, 2020, arXiv:2006.10738
    [2] Karras et al., Training Generative Adversarial Networks with Limited Data, 2020, arXiv:2006.06676, appendix B
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from artifex.core.prob import noise
from artifex.gan.filters import Band, low_pass, resample, separable

Pictures = Float[Array, "batch height width channel"]
Picture = Float[Array, "height width channel"]
Probability = Float[Array, ""]
Policy = Literal["colour", "translation", "cutout"]
PICTURES_TO_ONE = 500_000  # after which p has gone from 0 to 1
TAPS = 12


@dataclass(frozen=True)
class DiffAugment:
    """Changes of every row [1]."""

    policy: tuple[Policy, ...] = ("colour", "translation", "cutout")

    def __post_init__(self) -> None:
        unknown = [name for name in self.policy if name not in CHANGES]
        if unknown:
            raise ValueError(
                f"DiffAugment: expected a policy of {sorted(CHANGES)}, got {unknown[0]!r}. Leave it out, or mend it."
            )

    def __call__(self, x: Pictures, rngs: nnx.Rngs) -> Pictures:
        """Changed rows, each by noise of its own."""
        for name in self.policy:
            x = jax.vmap(CHANGES[name])(noise.row_keys(rngs, len(x)), x)
        return x


def change_colour(key: Key[Array, ""], x: Picture) -> Picture:
    """Brightness ±½, saturation 0 to 2, contrast ½ to 3/2."""
    brightness, saturation, contrast = jax.random.uniform(key, (3,), x.dtype)
    x = x + brightness - 0.5
    grey = x.mean(-1, keepdims=True)
    x = grey + 2 * saturation * (x - grey)
    return x.mean() + (contrast + 0.5) * (x - x.mean())


def translate(key: Key[Array, ""], x: Picture) -> Picture:
    """A shift by up to 1/8 of each side; zeros come in."""
    shifts = [
        jax.random.randint(k, (), -(n // 8), n // 8 + 1) for k, n in zip(jax.random.split(key), x.shape, strict=False)
    ]
    for axis, shift in enumerate(shifts):
        x = shifted(x, shift, axis)
    return x


def shifted(x: Picture, by: Array, axis: int) -> Picture:
    """x moved along an axis; zeros come in."""
    n = x.shape[axis]
    source = jnp.arange(n) - by
    known = jnp.expand_dims((source >= 0) & (source < n), [a for a in range(x.ndim) if a != axis])
    return jnp.where(known, jnp.take(x, jnp.clip(source, 0, n - 1), axis=axis), 0)


def cut_out(key: Key[Array, ""], x: Picture) -> Picture:
    """A square of half the side set to 0, its centre anywhere."""
    inside = jnp.ones(x.shape[:2], bool)
    for axis, k in enumerate(jax.random.split(key)):
        n = x.shape[axis]
        first = jax.random.randint(k, (), 0, n + 1) - n // 4
        place = jnp.arange(n)
        inside &= jnp.expand_dims((place >= first) & (place < first + n // 2), 1 - axis)
    return jnp.where(inside[..., None], 0, x)


CHANGES: dict[Policy, Callable[[Key[Array, ""], Picture], Picture]] = {
    "colour": change_colour,
    "translation": translate,
    "cutout": cut_out,
}


class Adaptive(nnx.Variable):
    """State of an augmentation that no gradient moves."""


class ADA(nnx.Module):
    """Changes with a probability that follows the critic's overfitting [2]."""

    def __init__(self, target: float = 0.6, p: float = 0.0) -> None:
        if not (-1 <= target <= 1 and 0 <= p <= 1):
            raise ValueError(
                f"ADA: expected 'target' in [−1, 1] and 'p' in [0, 1], got {target} and {p}. The paper's target is 0.6."
            )
        self.target = target
        self.deterministic = False  # nnx's switch for evaluation: nothing is observed
        self.p = Adaptive(jnp.asarray(p, jnp.float32))
        self.sign = Adaptive(jnp.zeros(()))  # E sign D(x) of the last step

    def __call__(self, x: Pictures, rngs: nnx.Rngs) -> Pictures:
        """Changed rows, each by noise of its own; x itself while p is 0."""
        keys = noise.row_keys(rngs, len(x))
        p = self.p[...]
        return jax.lax.cond(p > 0, lambda: adapted(keys, x, p), lambda: x)

    def observe(self, logits: Float[Array, "batch *patch"]) -> None:
        """Remember E sign D(x) of a batch of data."""
        if not self.deterministic:
            self.sign[...] = (logits > 0).astype(jnp.float32).mean() - (logits < 0).astype(jnp.float32).mean()

    def move(self, n: int) -> None:
        """Move p after a step on n pictures (eq. 1)."""
        step = jnp.sign(self.sign[...] - self.target) * n / PICTURES_TO_ONE
        self.p[...] = jnp.clip(self.p[...] + step, 0, 1)


class Change(NamedTuple):
    """What happens to one row."""

    place: Float[Array, "2 3"]  # from places of the result to places of x, in pixels about the centre
    moves: Bool[Array, ""]  # whether any change of place happens
    colour: Float[Array, "channel affine"]  # matrix, and a last column that is added
    tints: Bool[Array, ""]


def adapted(keys: Key[Array, " batch"], x: Pictures, p: Probability) -> Pictures:
    """Each row changed with probability p."""
    change = jax.vmap(functools.partial(draw_change, p=p, shape=x.shape[1:]))(keys)
    moved = jnp.where(change.moves[:, None, None, None], warp(x, change.place), x)
    matrix, added = change.colour[..., :-1].astype(x.dtype), change.colour[..., -1].astype(x.dtype)
    tinted = (moved[:, :, :, None] * matrix[:, None, None]).sum(-1) + added[:, None, None]
    return jnp.where(change.tints[:, None, None, None], tinted, moved)


def draw_change(key: Key[Array, ""], *, p: Probability, shape: tuple[int, ...]) -> Change:
    """The changes of one row."""
    place, colour = jax.random.split(key)
    return Change(*draw_place(place, p, shape[0]), *draw_colour(colour, p, shape[2]))


def draw_place(key: Key[Array, ""], p: Probability, side: int) -> tuple[Float[Array, "2 3"], Bool[Array, ""]]:
    """The matrix of the changes of place, and whether there is any: A (B (q + shift) + whole)."""
    keys = jax.random.split(key, 5)
    turn = 1 - jnp.sqrt(1 - p)
    on = jax.random.uniform(keys[0], (8,)) < jnp.stack([p, p, p, p, turn, p, turn, p])
    u = jnp.where(on[:2], jax.random.uniform(keys[1], (2,)), 0)
    eps = jax.random.normal(keys[2], (4,)) * on[jnp.array([3, 5, 7, 7])]
    whole = jnp.where(on[2], jnp.round((2 * jax.random.uniform(keys[3], (2,)) - 1) * side / 8), 0)
    angles = jnp.where(on[jnp.array([4, 6])], 2 * jnp.pi * jax.random.uniform(keys[4], (2,)), 0)
    mirror = jnp.stack([jnp.where(on[0] & (u[0] > 0.5), -1.0, 1.0), jnp.ones(())])
    stretch = 2 ** (0.2 * eps[1] * jnp.array([1.0, -1.0]))
    a = mirror[:, None] * rotation(jnp.pi / 2 * jnp.floor(4 * u[1]))
    b = 2 ** (0.2 * eps[0]) * chained(rotation(angles[0]) * stretch, rotation(angles[1]))
    both = chained(a, b)
    offset = (a * whole).sum(1) + (both * 0.125 * side * eps[2:]).sum(1)
    return jnp.concatenate([both, offset[:, None]], 1), on.any()


def chained(a: Float[Array, "n n"], b: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """a b, as a sum: places need their full precision."""
    return (a[:, :, None] * b).sum(1)


def rotation(angle: Float[Array, ""]) -> Float[Array, "2 2"]:
    """Places turned about the centre."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([c, -s, s, c]).reshape(2, 2)


def draw_colour(
    key: Key[Array, ""], p: Probability, channels: int
) -> tuple[Float[Array, "channel affine"], Bool[Array, ""]]:
    """Matrix and added column of the changes of colour, and whether there is any."""
    keys = jax.random.split(key, 3)
    happens = jax.random.uniform(keys[0], (5,)) < jnp.where(jnp.arange(5) < (5 if channels == 3 else 3), p, 0)
    eps = jax.random.normal(keys[1], (3,))
    flip, hue = jax.random.uniform(keys[2], (2,))
    one = jnp.eye(channels)
    grey = jnp.full((channels, channels), 1 / channels)  # onto the luma axis
    brightness = jnp.where(happens[0], 0.2 * eps[0], 0)
    contrast = jnp.where(happens[1], 2 ** (0.5 * eps[1]), 1)
    matrix = contrast * jnp.where(happens[2] & (flip < 0.5), one - 2 * grey, one)
    if channels == 3:
        matrix = chained(jnp.where(happens[3], hue_turn(2 * jnp.pi * hue), one), matrix)
        matrix = chained(grey + jnp.where(happens[4], 2 ** eps[2], 1) * (one - grey), matrix)
    added = matrix.sum(1, keepdims=True) * brightness
    return jnp.concatenate([matrix, added], 1), happens.any()


def hue_turn(angle: Float[Array, ""]) -> Float[Array, "3 3"]:
    """Colours turned about the luma axis v, by Rodrigues' formula."""
    c, s = jnp.cos(angle), jnp.sin(angle) / math.sqrt(3)
    cross = jnp.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    return c * jnp.eye(3) + s * cross + (1 - c) / 3


def warp(x: Pictures, place: Float[Array, "batch 2 3"]) -> Pictures:
    """x sampled at T q on a grid of twice the rate (eq. 2)."""
    side = x.shape[1]
    taps = low_pass(TAPS, Band(0.5, 0.5, 2))
    padded = jnp.pad(x, ((0, 0), (TAPS // 4, TAPS // 4), (TAPS // 4, TAPS // 4), (0, 0)), mode="symmetric")
    fine = resample(padded, separable(taps, (side + TAPS // 2, 2 * side), up=2))
    wide = 2 * side - 2 + TAPS  # what the filter down looks at
    q = (jnp.arange(wide) - (wide - 1) / 2) / 2
    at = place[:, :, 0, None, None] * q + place[:, :, 1, None, None] * q[:, None] + place[:, :, 2, None, None]
    moved = jax.vmap(bilinear)(fine, reflected(2 * at + side - 0.5, 2 * side))
    return resample(moved, separable(taps, (wide, side), down=2))


def reflected(at: Float[Array, "..."], n: int) -> Float[Array, "..."]:
    """Places on an axis of n entries, folded back at its borders."""
    around = jnp.mod(at + 0.5, 2 * n)
    return jnp.minimum(around, 2 * n - around) - 0.5


def bilinear(x: Picture, at: Float[Array, "2 rows columns"]) -> Float[Array, "rows columns channel"]:
    """x between its entries, at places (right, down) counted in entries."""
    across, down = (jnp.clip(place, 0, n - 1) for place, n in zip(at, (x.shape[1], x.shape[0]), strict=True))
    left, top = jnp.floor(across).astype(jnp.int32), jnp.floor(down).astype(jnp.int32)
    right, bottom = jnp.minimum(left + 1, x.shape[1] - 1), jnp.minimum(top + 1, x.shape[0] - 1)
    a, b = (across - left)[..., None].astype(x.dtype), (down - top)[..., None].astype(x.dtype)
    return (1 - b) * ((1 - a) * x[top, left] + a * x[top, right]) + b * (
        (1 - a) * x[bottom, left] + a * x[bottom, right]
    )
