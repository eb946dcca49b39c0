"""Penalties on the critic D, and one on the generator.

    r1               γ/2 ‖∇D(x)‖²  at data                       [1]                                            (1)
    r2               γ/2 ‖∇D(x̃)‖²  at fakes                      [1]                                            (2)
    gradient_penalty λ (‖∇D(x̂)‖ − 1)²,  x̂ = u x + (1 − u) x̃, u ~ U(0, 1) for each row, or x̂ = x  [2]           (3)
    lecam            λ ((D(x) − α_f)² + (D(x̃) − α_r)²), α the running means of D(x̃) and D(x)  [3]              (4)
    path_length      λ (‖J_wᵀ y‖ − a)²,  y ~ N(0, I) / √(number of pixels), a its running mean  [4]              (5)
Squares are sums over the entries of an example, never means: a mean would be another γ. Values are float32, one for
each row. A penalty of `every` = n acts on the steps 0, n, 2n, … and counts n times there.

Differs:
    [5] makes a lazy penalty an optimizer pass of its own, with learning rate and moments rescaled by n / (n + 1); here
    it is a term of the critic's loss, so one pass sees both.

References:
    [1] Mescheder, Geiger & Nowozin, Which Training Methods for GANs do actually Converge?, 2018, arXiv:1801.04406
    [2] Gulrajani et al., Improved Training of Wasserstein GANs, 2017, arXiv:1704.00028
    [3] Tseng et al., Regularizing Generative Adversarial Networks under Limited Data, 2021, arXiv:2104.03310
    [4] Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2020, arXiv:1912.04958
    [5] Karras et al., Training Generative Adversarial Networks with Limited Data, 2020, arXiv:2006.06676
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.prob import noise
from artifex.core.prob.noise import stream_key
from artifex.gan.loss import Logits

Data = Float[Array, "batch *event"]
PerRow = Float[Array, " batch"]
Critic = Callable[[Data], Logits]


class Penalty(NamedTuple):
    """A term of the critic's loss, one value for each row."""

    name: str
    value: Callable[[Critic, Data, Data, nnx.Rngs], PerRow]  # (critic, real, fake, rngs)
    every: int = 1  # acts on each n-th step, n times as strong

    def at(self, step: Int[Array, ""], critic: Critic, rows: tuple[Data, Data], rngs: nnx.Rngs) -> PerRow:
        """The penalty at a step; nothing of it is computed on the steps where it rests."""
        if self.every == 1:
            return self.value(critic, *rows, rngs)
        key = stream_key(rngs, self.name)  # drawn outside of the branch, which may not move a stream
        zeros = jnp.zeros(len(rows[0]), jnp.float32)
        acts = step % self.every == 0
        return jax.lax.cond(acts, lambda: self.every * self.value(critic, *rows, nnx.Rngs(key)), lambda: zeros)


def squared_slope(critic: Critic, x: Data) -> PerRow:
    """‖∇D‖² at each row, summed over its entries."""
    slope = jax.grad(lambda x: critic(x).astype(jnp.float32).sum())(x).astype(jnp.float32)
    return (slope**2).reshape(len(x), -1).sum(-1)


def root(squares: PerRow) -> PerRow:
    """√ with gradient 0 at 0, where the true one is infinite and would turn into NaN."""
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), 0)


def r1(gamma: float | Float[Array, ""], every: int = 1) -> Penalty:
    """γ/2 ‖∇D‖² at data (eq. 1)."""
    check_weight("r1", "gamma", gamma)
    return Penalty("r1", lambda critic, real, fake, rngs: 0.5 * gamma * squared_slope(critic, real), every)


def r2(gamma: float | Float[Array, ""], every: int = 1) -> Penalty:
    """γ/2 ‖∇D‖² at fakes (eq. 2)."""
    check_weight("r2", "gamma", gamma)
    return Penalty("r2", lambda critic, real, fake, rngs: 0.5 * gamma * squared_slope(critic, fake), every)


def gradient_penalty(weight: float = 10.0, at: Literal["line", "data"] = "line", every: int = 1) -> Penalty:
    """λ (‖∇D‖ − 1)², on lines between data and fakes or at the data (eq. 3)."""
    check_weight("gradient_penalty", "weight", weight)

    def value(critic: Critic, real: Data, fake: Data, rngs: nnx.Rngs) -> PerRow:
        x = real if at == "data" else on_lines(real, fake, rngs)
        return weight * (root(squared_slope(critic, x)) - 1) ** 2  # eq. 3

    return Penalty("gradient_penalty", value, every)


def on_lines(real: Data, fake: Data, rngs: nnx.Rngs) -> Data:
    """A point between the data and the fake of each row, uniform on the line."""
    u = noise.uniform(rngs, (len(real),), real.dtype).reshape(-1, *[1] * (real.ndim - 1))
    return u * real + (1 - u) * fake


class Running(nnx.Variable):
    """A running mean that no gradient moves."""


class LeCam(nnx.Module):
    """The penalty of eq. 4 with its running means; a model keeps it and names it in its game."""

    def __init__(self, weight: float = 0.3, decay: float = 0.99) -> None:
        check_weight("LeCam", "weight", weight)
        self.weight, self.decay = weight, decay
        self.deterministic = False  # nnx's switch for evaluation: the means stay
        self.real, self.fake = Running(jnp.zeros(())), Running(jnp.zeros(()))

    def __call__(self, critic: Critic, real: Data, fake: Data, rngs: nnx.Rngs) -> PerRow:
        """The penalty of each row; in training mode the running means move (eq. 4)."""
        logits = [critic(x).astype(jnp.float32).reshape(len(x), -1).mean(-1) for x in (real, fake)]
        if not self.deterministic:
            for mean, value in zip((self.real, self.fake), logits, strict=True):
                mean[...] += (1 - self.decay) * (jax.lax.stop_gradient(value.mean()) - mean[...])
        return self.weight * ((logits[0] - self.fake[...]) ** 2 + (logits[1] - self.real[...]) ** 2)

    def penalty(self) -> Penalty:
        """As a term of the critic's loss."""
        return Penalty("lecam", self)


class PathLength(nnx.Module):
    """The penalty of eq. 5 with the running mean of path lengths; a term of the generator's loss."""

    def __init__(self, weight: float = 2.0, decay: float = 0.99) -> None:
        check_weight("PathLength", "weight", weight)
        self.weight, self.decay = weight, decay
        self.deterministic = False
        self.mean = Running(jnp.zeros(()))

    def __call__(self, synthesis: Callable[[Data], Data], w: Data, rngs: nnx.Rngs) -> PerRow:
        """The penalty of each row of w (eq. 5)."""
        x, pull = jax.vjp(synthesis, w)
        pixels = math.prod(x.shape[1:-1])
        (back,) = pull(noise.normal(rngs, x.shape, x.dtype) / math.sqrt(pixels))
        length = root((back.astype(jnp.float32) ** 2).reshape(len(w), -1).sum(-1))
        if not self.deterministic:
            self.mean[...] += (1 - self.decay) * (jax.lax.stop_gradient(length.mean()) - self.mean[...])
        return self.weight * (length - self.mean[...]) ** 2  # eq. 5


def check_weight(where: str, name: str, value: float | Float[Array, ""]) -> None:
    """Refuse a negative weight."""
    if isinstance(value, float | int) and value < 0:
        raise ValueError(
            f"{where}: expected {name!r} >= 0, got {value}. A negative weight rewards a steep critic; use 0 for none."
        )
