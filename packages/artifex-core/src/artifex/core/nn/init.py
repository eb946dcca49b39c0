"""Initial weights, drawn on the host.

    fan_in  = (product of the kernel's window) × inputs,    fan_out = window × outputs        kernel [*window, in, out]
    LeCun   Var W = 1 / fan_in                                                                                 (1)
    He      Var W = 2 / fan_in                                                                                 (2)
    Glorot  Var W = 2 / (fan_in + fan_out)                                                                     (3)
    uniform with the same variance:  W ~ U(−√(3 Var W), √(3 Var W))                                            (4)
    orthogonal: the Q of a Gaussian matrix, with the signs that make its distribution uniform                  (5)

Outside a trace the numbers come from numpy's Philox, seeded by the key: XLA would compile each shape of each draw
anew, which costs a fifth of a second of CPU a shape and makes building a small model take seconds. Under a trace the
same distributions come from `jax.random`, so the numbers differ between the two, never their distribution.

References:
    [1] LeCun et al., Efficient BackProp, 1998
    [2] He et al., Delving Deep into Rectifiers, 2015, arXiv:1502.01852
    [3] Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010
    [4] Saxe et al., Exact solutions to the nonlinear dynamics of learning, 2013, arXiv:1312.6120
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Key

Initializer = Callable[..., Array]  # (key, shape, dtype=float32) -> array
Draw = Literal["normal", "uniform"]


def draw(
    key: Key[Array, ""], kind: Draw, shape: tuple[int, ...], dtype: jnp.dtype, *, scale: float = 1.0
) -> Float[Array, "..."]:
    """Normal numbers of deviation `scale`, or uniform ones in [−scale, scale)."""
    if isinstance(key, Tracer):
        if kind == "normal":
            return scale * jax.random.normal(key, shape, dtype)
        return jax.random.uniform(key, shape, dtype, -scale, scale)
    seed = [int(word) for word in np.asarray(jax.random.key_data(key)).ravel()]
    host = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    numbers = host.standard_normal(shape) if kind == "normal" else host.uniform(-1, 1, shape)
    return jax.device_put((scale * numbers).astype(dtype))


def zeros(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Float[Array, "..."]:
    """All zeros."""
    return constant(0.0)(key, shape, dtype)


def ones(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Float[Array, "..."]:
    """All ones."""
    return constant(1.0)(key, shape, dtype)


def constant(value: float) -> Initializer:
    """Every weight is `value`."""

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        return jax.device_put(np.full(shape, value, dtype))

    return init


def normal(stddev: float = 0.01) -> Initializer:
    """Gaussian weights of standard deviation `stddev`."""

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        return draw(key, "normal", shape, dtype, scale=stddev)

    return init


def uniform(scale: float = 0.01) -> Initializer:
    """Uniform weights in [−scale, scale)."""

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        return draw(key, "uniform", shape, dtype, scale=scale)

    return init


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a kernel [*window, in, out]."""
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def scaled(variance: Callable[[int, int], float], kind: Draw) -> Initializer:
    """Weights whose variance is a function of the fans (eq. 1 to 4)."""

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        std = math.sqrt(variance(*fans(shape)))
        return draw(key, kind, shape, dtype, scale=std if kind == "normal" else math.sqrt(3) * std)

    return init


def lecun_normal() -> Initializer:
    """Gaussian weights with Var W = 1 / fan_in (eq. 1)."""
    return scaled(lambda fan_in, _: 1 / fan_in, "normal")


def lecun_uniform() -> Initializer:
    """Uniform weights with Var W = 1 / fan_in (eq. 1)."""
    return scaled(lambda fan_in, _: 1 / fan_in, "uniform")


def he_normal() -> Initializer:
    """Gaussian weights with Var W = 2 / fan_in (eq. 2)."""
    return scaled(lambda fan_in, _: 2 / fan_in, "normal")


def he_uniform() -> Initializer:
    """Uniform weights with Var W = 2 / fan_in (eq. 2)."""
    return scaled(lambda fan_in, _: 2 / fan_in, "uniform")


def glorot_normal() -> Initializer:
    """Gaussian weights with Var W = 2 / (fan_in + fan_out) (eq. 3)."""
    return scaled(lambda fan_in, fan_out: 2 / (fan_in + fan_out), "normal")


def glorot_uniform() -> Initializer:
    """Uniform weights with Var W = 2 / (fan_in + fan_out) (eq. 3)."""
    return scaled(lambda fan_in, fan_out: 2 / (fan_in + fan_out), "uniform")


def orthogonal(scale: float = 1.0) -> Initializer:
    """A kernel whose columns (or rows, whichever are fewer) are orthogonal and of length `scale` (eq. 5)."""

    def init(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        columns = shape[-1]
        rows = math.prod(shape) // columns
        tall = draw(key, "normal", (max(rows, columns), min(rows, columns)), dtype)
        linalg = jnp.linalg if isinstance(tall, Tracer) else np.linalg
        q, r = linalg.qr(tall)
        q = q * jnp.sign(jnp.diagonal(r))
        return scale * jnp.asarray(q if rows >= columns else q.T, dtype).reshape(shape)

    return init
