"""What a network predicts, and the denoiser that it makes.

    x_t = α x₀ + σ ε                                                                                             (1)
    target w = a x₀ + b ε:   x0 (1, 0)   eps (0, 1)   v (−σ, α)   velocity (−1, 1)   score = −ε/σ                (2)
    x₀ = (b x_t − σ w)/d,   ε = (α w − a x_t)/d,   d = α b − σ a                                                 (3)
    w  = c_skip x_t + c_out F(c_in x_t, c_noise, y)      the network F between its scalings [3]                  (4)

`velocity` is that of the straight path, ε − x₀; its d = α + σ is never 0, so that it fits every schedule.

**The network contract.** F is any callable `network(xt, c, y=None, *, rngs=None)`:

    xt  the noisy data, scaled              [batch, *event]
    c   the noise level, c_noise            [batch]: 0 … 1000 (a step's index), or ¼ log σ
    y   classes 0 … n_classes − 1, and n_classes for "no class"; None of a network without classes
    rngs   for dropout; without it nothing is dropped
and returns w in the shape of xt (twice the channels where a model learns variances too). Its config has the fields
`shape`, `n_classes` and `out_channels`, and stands in `networks.AnyNetwork`.

References:
    [1] Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239
    [2] Salimans & Ho, Progressive Distillation for Fast Sampling, 2022, arXiv:2202.00512
    [3] Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, arXiv:2206.00364
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from artifex.core.errors import did_you_mean
from artifex.diffusion.process import Level, Schedule

Data = Float[Array, "batch *event"]
Time = Float[Array, " batch"] | Float[Array, ""] | float
Condition = Shaped[Array, "batch *condition"]
Prediction = Literal["x0", "eps", "v", "velocity", "score"]
Denoise = Callable[[Array, Time], Array]  # (xt, t) -> x0, what solvers consume and guidance maps
NO_SIGNAL = 1e-8  # an α below it leaves nothing of the data


class Network(Protocol):
    """A network of the contract above."""

    def __call__(self, xt: Data, c: Float[Array, " batch"], y: Condition | None = None) -> Float[Array, "batch ..."]:
        """The prediction w for each row."""
        ...


class Scales(NamedTuple):
    """The scalings around a network (eq. 4), one value per row."""

    skip: Level
    out: Level
    into: Level
    noise: Level


Precondition = Callable[[Level, Schedule], Scales]


def identity(t: Level, schedule: Schedule) -> Scales:
    """The bare network, told what the schedule says about t."""
    one = jnp.ones_like(t)
    return Scales(jnp.zeros_like(t), one, one, schedule.condition(t))


@dataclass(frozen=True)
class EDMPrecondition:
    """Scalings that give inputs and targets unit variance where data have deviation σ_d; w is then x₀ [3]."""

    sigma_data: float = 0.5  # σ_d

    def __call__(self, t: Level, schedule: Schedule) -> Scales:
        """c_skip, c_out, c_in and c_noise of x_t/α, whose noise is σ/α (eq. 4)."""
        alpha, sigma, data = schedule.alpha(t), schedule.sigma(t) / schedule.alpha(t), self.sigma_data
        total = sigma**2 + data**2
        return Scales(
            skip=data**2 / total / alpha,
            out=sigma * data / jnp.sqrt(total),
            into=1 / jnp.sqrt(total) / alpha,
            noise=0.25 * jnp.log(sigma),
        )


@dataclass(frozen=True)
class Denoiser:
    """x₀ estimated from x_t by a network, given what it predicts and how it is scaled."""

    network: Network
    schedule: Schedule
    prediction: Prediction
    precondition: Precondition = identity

    def __post_init__(self) -> None:
        check_prediction("Denoiser", self.prediction, self.schedule)

    def __call__(self, xt: Data, t: Time, y: Condition | None = None) -> Data:
        """x₀ (eq. 3)."""
        return convert(self.value(xt, t, y), self.prediction, "x0", xt, t, self.schedule)

    def value(self, xt: Data, t: Time, y: Condition | None = None) -> Data:
        """The prediction w (eq. 4), in the dtype of xt."""
        t = jnp.broadcast_to(wide(t, xt), xt.shape[:1])
        c = self.precondition(t, self.schedule)
        value = self.network(like(c.into, xt) * xt, wide(c.noise, xt), y).astype(xt.dtype)
        if value.shape != xt.shape:
            raise ValueError(
                f"Denoiser: expected a network output of shape {xt.shape}, got {value.shape}. "
                "Build the network with as many output channels as the data have."
            )
        return like(c.skip, xt) * xt + like(c.out, xt) * value  # eq. 4


def convert(
    value: Data, source: Prediction, target: Prediction, xt: Data, t: Time, schedule: Schedule
) -> Data:  # the six names of eq. 3
    """`value`, which is a `source`, as a `target` (eq. 2, 3)."""
    alpha, sigma = levels(schedule, t, xt)
    if source == target:
        return value
    x0, eps = parts(value, source, xt, (alpha, sigma))
    made = {
        "x0": lambda: x0,
        "eps": lambda: eps,
        "v": lambda: alpha * eps - sigma * x0,
        "velocity": lambda: eps - x0,
        "score": lambda: -eps / sigma,
    }
    return made[target]()


def parts(value: Data, source: Prediction, xt: Data, level: tuple[Array, Array]) -> tuple[Data, Data]:
    """x₀ and ε that agree with x_t and with `value` (eq. 3)."""
    alpha, sigma = level
    if source == "x0":
        return value, (xt - alpha * value) / sigma
    if source in ("eps", "score"):
        eps = value if source == "eps" else -sigma * value
        return (xt - sigma * eps) / alpha, eps
    a, b = (-sigma, alpha) if source == "v" else (-1.0, 1.0)
    d = alpha * b - sigma * a
    return (b * xt - sigma * value) / d, (alpha * value - a * xt) / d  # eq. 3


def log_gain(prediction: Prediction, alpha: Level, sigma: Level) -> Float[Array, "..."]:
    """log |∂x₀/∂w| at a fixed x_t: how an error of the network becomes one of x₀."""
    log_alpha, log_sigma = jnp.log(alpha), jnp.log(sigma)
    return {
        "x0": jnp.zeros_like(log_sigma),
        "eps": log_sigma - log_alpha,
        "v": log_sigma - jnp.log(alpha**2 + sigma**2),
        "velocity": log_sigma - jnp.log(alpha + sigma),
        "score": 2 * log_sigma - log_alpha,
    }[prediction]


def levels(schedule: Schedule, t: Time, x: Data) -> tuple[Array, Array]:
    """α and σ at t, shaped to multiply x."""
    t = wide(t, x)
    return like(schedule.alpha(t), x), like(schedule.sigma(t), x)


def wide(level: Level | Time, x: Data) -> Array:
    """A noise level in the dtype of x, but in float32 at least: bfloat16 has no thousand of them."""
    return jnp.asarray(level, jnp.promote_types(x.dtype, jnp.float32))


def like(level: Level, x: Data) -> Array:
    """One value per row, or one for all, shaped to multiply x."""
    level = jnp.asarray(level, x.dtype)
    return level.reshape(level.shape + (1,) * (x.ndim - 1)) if level.ndim else level


def check_prediction(where: str, prediction: str, schedule: Schedule) -> None:
    """Refuse an unknown prediction, and one from which x₀ cannot be had at t = 1."""
    known = get_args(Prediction)
    if prediction not in known:
        raise ValueError(
            f"{where}: expected 'prediction' among {list(known)}, got {prediction!r}.{did_you_mean(prediction, known)}"
        )
    if prediction in ("eps", "score") and np.abs(schedule.alpha(1.0)) < NO_SIGNAL:
        raise ValueError(
            f"{where}: expected a 'prediction' that gives x₀ where no signal is left, got {prediction!r} with a "
            "schedule whose signal ends at 0. Predict 'v' or 'velocity'."
        )
