"""Bijectors of pictures, [batch, height, width, channel].

    Squeeze      2 × 2 pixels become channels,   log-det  0                                                      (1)
    Conv1x1      z = W x at each pixel, W = P L (U + diag s),    log-det  h w Σ log |s| [2]                       (2)
    Split        half of the channels goes on as y, the other half leaves as ε = (x₂ − μ(y)) / σ(y),
                 log-det  −Σ log σ(y) + that of the rest: a learned prior N(μ(y), σ(y)²), as a bijection [1, 2]   (3)
    masks        checkerboard: (row + column) mod 2;    channel: the first half [1]                              (4)

References:
    [1] Dinh, Sohl-Dickstein & Bengio, Density estimation using Real NVP, 2016, arXiv:1605.08803
    [2] Kingma & Dhariwal, Glow: Generative Flow with Invertible 1×1 Convolutions, 2018, arXiv:1807.03039
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.nn.init import he_normal, orthogonal, zeros
from artifex.core.prob.gaussian import over_event
from artifex.flow.bijector import Bijector, Context, Event, Fast, Mapped, PerRow, initialise

Picture = Float[Array, "batch height width channel"]
Half = Float[Array, "batch height width half"]
Vector = Float[Array, "batch entry"]


class Fixed(nnx.Variable):
    """Drawn when the model is built, and never moved."""


class Flatten(nnx.Module):
    """A picture as a vector."""

    fast: Fast = "both"

    def __init__(self, event_shape: Event) -> None:
        self.event_shape = event_shape

    def forward(self, x: Picture, context: Context | None = None) -> Mapped:
        """The entries in a row."""
        return Mapped(x.reshape(len(x), -1), jnp.zeros(len(x), x.dtype))

    def inverse(self, z: Vector, context: Context | None = None) -> Mapped:
        """The entries in the shape of the picture."""
        return Mapped(z.reshape(len(z), *self.event_shape), jnp.zeros(len(z), z.dtype))


class Squeeze(nnx.Module):
    """2 × 2 pixels as channels of one (eq. 1)."""

    fast: Fast = "both"

    def __init__(self, event_shape: Event) -> None:
        check_even(event_shape)
        height, width, channels = event_shape
        self.event_shape = event_shape
        self.mapped_shape = (height // 2, width // 2, 4 * channels)

    def forward(self, x: Picture, context: Context | None = None) -> Mapped:
        """[h, w, c] to [h/2, w/2, 4c]."""
        height, width, channels = self.event_shape
        blocks = x.reshape(len(x), height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
        return Mapped(blocks.reshape(len(x), *self.mapped_shape), jnp.zeros(len(x), x.dtype))

    def inverse(self, z: Picture, context: Context | None = None) -> Mapped:
        """[h/2, w/2, 4c] to [h, w, c]."""
        height, width, channels = self.event_shape
        blocks = z.reshape(len(z), height // 2, width // 2, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
        return Mapped(blocks.reshape(len(z), *self.event_shape), jnp.zeros(len(z), z.dtype))


class Conv1x1(nnx.Module):
    """A learned rotation of the channels at each pixel, by its triangular factors (eq. 2)."""

    fast: Fast = "both"

    def __init__(self, event_shape: Event, *, rngs: nnx.Rngs) -> None:
        channels = event_shape[-1]
        self.event_shape = event_shape
        self.dtype = None  # the trainer's compute dtype
        rotation = orthogonal()(rngs.params(), (channels, channels))
        permutation, lower, upper = jax.scipy.linalg.lu(rotation)
        s = jnp.diagonal(upper)
        self.order = Fixed(jnp.argmax(permutation, axis=1))  # z_i takes entry order[i] of L U x
        self.sign = Fixed(jnp.sign(s))
        self.log_s = nnx.Param(jnp.log(jnp.abs(s)))
        self.lower = nnx.Param(jnp.tril(lower, -1))
        self.upper = nnx.Param(jnp.triu(upper, 1))

    def forward(self, x: Picture, context: Context | None = None) -> Mapped:
        """W x at each pixel."""
        lower, upper = self.factors(x.dtype)
        z = product(product(x, upper, self.dtype), lower, self.dtype)  # eq. 2
        return Mapped(z[..., self.order[...]], jnp.full(len(x), self._log_det(x.dtype)))

    def inverse(self, z: Picture, context: Context | None = None) -> Mapped:
        """W⁻¹ z at each pixel."""
        lower, upper = self.factors(z.dtype)
        rows = z[..., jnp.argsort(self.order[...])].reshape(-1, z.shape[-1])
        rows = jax.scipy.linalg.solve_triangular(lower, rows.T, lower=True, unit_diagonal=True)
        x = jax.scipy.linalg.solve_triangular(upper, rows).T
        return Mapped(x.reshape(z.shape), jnp.full(len(z), -self._log_det(z.dtype)))

    def factors(self, dtype: jnp.dtype) -> tuple[Float[Array, "c c"], Float[Array, "c c"]]:
        """L and U + diag s (eq. 2)."""
        s = self.sign[...] * jnp.exp(self.log_s[...])
        lower = jnp.tril(self.lower[...], -1) + jnp.eye(len(s))
        return lower.astype(dtype), (jnp.triu(self.upper[...], 1) + jnp.diag(s)).astype(dtype)

    def _log_det(self, dtype: jnp.dtype) -> Float[Array, ""]:
        return math.prod(self.event_shape[:-1]) * self.log_s[...].astype(dtype).sum()  # eq. 2


class Split(nnx.Module):
    """Half of the channels leaves here, as noise under a prior that the other half gives (eq. 3).

    Args:
        rest: what the half that goes on is mapped by, to a vector.
        prior: gives μ and log σ, side by side, from the half that goes on; N(0, I) without it.
    """

    def __init__(self, event_shape: Event, rest: Bijector, prior: Callable[[Picture], Picture] | None = None) -> None:
        self.event_shape = event_shape
        self.rest = rest
        self.prior = prior
        self.fast: Fast = rest.fast

    def forward(self, x: Picture, context: Context | None = None) -> Mapped:
        """The vector of the rest, then ε."""
        y, eps, log_std = self.part(x)
        z, log_det = self.rest.forward(y, context)
        return Mapped(joined(z, eps), log_det - over_event(log_std))

    def inverse(self, z: Vector, context: Context | None = None) -> Mapped:
        """y from the first half, then x₂ = μ(y) + σ(y) ε."""
        first, eps = jnp.split(z, 2, axis=-1)
        y, log_det = self.rest.inverse(first, context)
        mean, log_std = self.moments(y)
        x2 = mean + jnp.exp(log_std) * eps.reshape(y.shape)
        return Mapped(jnp.concatenate([y, x2], -1), log_det + over_event(log_std))

    def initialise(self, x: Picture, context: Context | None, weight: PerRow) -> Float[Array, "batch mapped"]:
        """Set the rest from the half that goes on."""
        y, eps, _ = self.part(x)
        return joined(initialise(self.rest, y, context, weight), eps)

    def part(self, x: Picture) -> tuple[Half, Half, Half]:
        """y, which goes on; ε of the other half; and its log σ."""
        y, x2 = jnp.split(x, 2, axis=-1)
        mean, log_std = self.moments(y)
        return y, (x2 - mean) * jnp.exp(-log_std), log_std  # eq. 3

    def moments(self, y: Picture) -> tuple[Picture, Picture]:
        """μ and log σ of the half that leaves."""
        if self.prior is None:
            return jnp.zeros_like(y), jnp.zeros_like(y)
        mean, log_std = jnp.split(self.prior(y), 2, axis=-1)
        return mean, log_std


class ZeroConv(nnx.Module):
    """A 3 × 3 convolution that gives 0 at the start, times exp(3 a) with a learned for each channel [2]."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(inputs, outputs, (3, 3), kernel_init=zeros, bias_init=zeros, rngs=rngs)
        self.log_scale = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Picture) -> Float[Array, "batch height width out"]:
        """Zeros, until training moves it."""
        h = self.conv(x)
        return h * jnp.exp(3 * self.log_scale[...]).astype(h.dtype)


class ConvNet(nnx.Module):
    """Convolutions of 3 × 3, 1 × 1 and 3 × 3, the last one a `ZeroConv` [2]; the context is added to each pixel."""

    def __init__(self, sizes: tuple[int, int, int], context_dim: int = 0, *, rngs: nnx.Rngs) -> None:
        inputs, hidden, outputs = sizes
        options = {"kernel_init": he_normal(), "bias_init": zeros, "rngs": rngs}
        self.first = nnx.Conv(inputs, hidden, (3, 3), **options)
        self.second = nnx.Conv(hidden, hidden, (1, 1), **options)
        self.last = ZeroConv(hidden, outputs, rngs=rngs)
        self.context = ContextBias(context_dim, hidden, rngs=rngs) if context_dim else None

    def __call__(self, x: Picture, context: Context | None = None) -> Float[Array, "batch height width out"]:
        """Outputs at each pixel."""
        h = self.first(x)
        if self.context is not None and context is not None:
            h = h + self.context(context)
        return self.last(jax.nn.relu(self.second(jax.nn.relu(h))))


class ContextBias(nnx.Module):
    """A linear map of the context, the same at each pixel."""

    def __init__(self, context_dim: int, channels: int, *, rngs: nnx.Rngs) -> None:
        self.linear = nnx.Linear(context_dim, channels, use_bias=False, kernel_init=he_normal(), rngs=rngs)

    def __call__(self, context: Context) -> Float[Array, "batch 1 1 channel"]:
        """What is added to the channels."""
        return self.linear(context)[:, None, None, :]


def joined(z: Vector, eps: Picture) -> Float[Array, "batch mapped"]:
    """A vector, and the entries of a picture behind it."""
    return jnp.concatenate([z, eps.reshape(len(eps), -1)], -1)


def product(x: Picture, matrix: Float[Array, "c c"], dtype: jnp.dtype | None) -> Picture:
    """M x at each pixel, multiplied in `dtype` where one is named."""
    inner = dtype or x.dtype
    return jnp.einsum("...c,dc->...d", x.astype(inner), matrix.astype(inner)).astype(x.dtype)


def checkerboard(event_shape: Event) -> Float[np.ndarray, "height width 1"]:
    """1 at every other pixel (eq. 4)."""
    height, width, _ = event_shape
    return (np.add.outer(np.arange(height), np.arange(width)) % 2)[..., None].astype(np.float32)


def half_of_channels(event_shape: Event) -> Float[np.ndarray, "1 1 channel"]:
    """1 for the first half of the channels (eq. 4)."""
    channels = event_shape[-1]
    return (np.arange(channels) < channels // 2).astype(np.float32)[None, None]


def check_even(event_shape: Event) -> None:
    """Refuse pictures whose sides cannot be halved."""
    if len(event_shape) != 3 or any(side % 2 for side in event_shape[:2]):
        raise ValueError(
            f"Squeeze: expected pictures (height, width, channels) with even sides, got {event_shape}. "
            "Pad or crop the data, or use fewer scales."
        )


def check_sides(where: str, event_shape: Event, n_squeezes: int) -> None:
    """Refuse pictures that cannot be squeezed so often, and name the sizes that can."""
    factor = 2**n_squeezes
    if len(event_shape) != 3 or any(side % factor for side in event_shape[:2]):
        near = [
            tuple(max(factor, rounded(side / factor) * factor) for side in event_shape[:2])
            for rounded in (math.floor, math.ceil)
        ]
        raise ValueError(
            f"{where}: expected pictures (height, width, channels) with sides that divide by {factor} to be squeezed "
            f"{n_squeezes} times, got {event_shape}. The nearest sides are {near[0]} and {near[1]}; or use fewer "
            "scales."
        )


def check_counts(where: str, **counts: int) -> None:
    """Refuse numbers of scales, steps or channels below 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{where}: expected {name!r} >= 1, got {count}. The flow needs at least one of them.")
