"""Which times are trained on, what their errors weigh, and the loss.

    L = E_t,ε  w(t) ‖x₀ − D(x_t)‖²  =  E_t,ε  w(t) (∂x₀/∂w)² ‖target − prediction‖²                              (1)
All weights are of the squared error of x₀, so that they mean the same whatever the network predicts; the loss is
computed in the prediction's own terms, the second form, where nothing cancels. A row's error is a mean over entries.

| weight           | w(t), S = α²/σ²                       |
|------------------|---------------------------------------|
| `plain` [1]      | such that the error of one prediction has weight 1: eps gives S, x0 gives 1 (2) |
| `min_snr` [2]    | min(S, γ)                             (3) |
| `edm` [3]        | 1/σ̂² + 1/σ_d²,  σ̂ = σ/α              (4) |
| `sigmoid` [4]    | S · sigmoid(bias − log S)             (5) |
| `likelihood` [5] | ½ g²/σ² S = −½ dS/dt                  (6) |

References:
    [1] Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239
    [2] Hang et al., Efficient Diffusion Training via Min-SNR Weighting Strategy, 2023, arXiv:2303.09556
    [3] Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, arXiv:2206.00364
    [4] Kingma & Gao, Understanding Diffusion Objectives as the ELBO, 2023, arXiv:2303.00848
    [5] Song et al., Maximum Likelihood Training of Score-Based Diffusion Models, 2021, arXiv:2101.09258
    [6] Kingma et al., Variational Diffusion Models, 2021, arXiv:2107.00630 (stratified times)
    [7] Esser et al., Scaling Rectified Flow Transformers, 2024, arXiv:2403.03206 (logit-normal times)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypedDict

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.config import Config
from artifex.core.prob import noise
from artifex.core.protocols import Batch
from artifex.core.training.rows import masked_mean
from artifex.diffusion.prediction import Condition, Data, Denoiser, Prediction, convert, levels, log_gain, wide
from artifex.diffusion.process import Schedule

PerRow = Float[Array, " batch"]


class Times(Protocol):
    """A distribution of training times."""

    def __call__(self, rngs: nnx.Rngs, n: int, schedule: Schedule) -> PerRow:
        """n times."""
        ...


class Weight(Protocol):
    """A weight of the squared error of x₀ (eq. 1)."""

    def log_weight(self, t: PerRow, schedule: Schedule) -> PerRow:
        """log w(t)."""
        ...


class DenoisingOutputs(TypedDict):
    """The forward pass: what was asked, and what the network said."""

    t: PerRow
    x0: Data  # the data, in the network's range
    xt: Data
    prediction: Data


class DenoisingLosses(TypedDict):
    """The weighted loss, and the squared error of ε or of what the network predicts."""

    loss: Float[Array, ""]
    error: Float[Array, ""]
    weight: Float[Array, ""]


@dataclass(frozen=True, kw_only=True)
class UniformTimes(Config, tag="uniform"):
    """Equal chances; the steps of a discrete schedule, or times from t_min to 1."""

    t_min: float = 1e-3  # below it, predictions of ε are no longer float32 numbers' business

    def __call__(self, rngs: nnx.Rngs, n: int, schedule: Schedule) -> PerRow:
        """n times, one a row."""
        return spread(noise.uniform(rngs, (n,)), self.t_min, schedule)


@dataclass(frozen=True, kw_only=True)
class StratifiedTimes(Config, tag="stratified"):
    """Uniform times of equal distance and one common offset, which lowers the loss's variance [6]."""

    t_min: float = 1e-3

    def __call__(self, rngs: nnx.Rngs, n: int, schedule: Schedule) -> PerRow:
        """n times, one a row."""
        u = noise.uniform(rngs, (1,)) + jnp.arange(n) / n
        return spread(u % 1, self.t_min, schedule)


@dataclass(frozen=True, kw_only=True)
class LogNormalTimes(Config, tag="log_normal"):
    """Times whose log σ/α is normal [3]."""

    mean: float = -1.2
    std: float = 1.2

    def __call__(self, rngs: nnx.Rngs, n: int, schedule: Schedule) -> PerRow:
        """n times, one a row."""
        log_sigma = self.mean + self.std * noise.normal(rngs, (n,))
        return jnp.asarray(schedule.inverse_log_snr(-2 * log_sigma))


@dataclass(frozen=True, kw_only=True)
class LogitNormalTimes(Config, tag="logit_normal"):
    """Times whose logit is normal [7]."""

    mean: float = 0.0
    std: float = 1.0

    def __call__(self, rngs: nnx.Rngs, n: int, schedule: Schedule) -> PerRow:
        """n times, one a row."""
        return jax.nn.sigmoid(self.mean + self.std * noise.normal(rngs, (n,)))


@dataclass(frozen=True, kw_only=True)
class PlainWeight(Config, tag="plain"):
    """The error of one prediction, unweighted (eq. 2)."""

    of: Prediction = "eps"

    def log_weight(self, t: PerRow, schedule: Schedule) -> PerRow:
        """log w(t)."""
        return -2 * log_gain(self.of, schedule.alpha(t), schedule.sigma(t))


@dataclass(frozen=True, kw_only=True)
class MinSNRWeight(Config, tag="min_snr"):
    """The signal-to-noise ratio, at most γ (eq. 3)."""

    gamma: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("MinSNRWeight", gamma=self.gamma)

    def log_weight(self, t: PerRow, schedule: Schedule) -> PerRow:
        """log w(t)."""
        return jnp.minimum(schedule.log_snr(t), math.log(self.gamma))


@dataclass(frozen=True, kw_only=True)
class EDMWeight(Config, tag="edm"):
    """Equal weight at all levels for a network between EDM's scalings (eq. 4)."""

    sigma_data: float = 0.5  # σ_d

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("EDMWeight", sigma_data=self.sigma_data)

    def log_weight(self, t: PerRow, schedule: Schedule) -> PerRow:
        """log w(t)."""
        return jnp.logaddexp(schedule.log_snr(t), -2 * math.log(self.sigma_data))


@dataclass(frozen=True, kw_only=True)
class SigmoidWeight(Config, tag="sigmoid"):
    """On the error of ε a weight that falls from 1 where the data get clear (eq. 5)."""

    bias: float = 2.0

    def log_weight(self, t: PerRow, schedule: Schedule) -> PerRow:
        """log w(t)."""
        log_snr = jnp.asarray(schedule.log_snr(t))
        return log_snr + jax.nn.log_sigmoid(self.bias - log_snr)


@dataclass(frozen=True, kw_only=True)
class LikelihoodWeight(Config, tag="likelihood"):
    """The weight for which the loss bounds −log p(x), up to a constant (eq. 6)."""

    def log_weight(self, t: PerRow, schedule: Schedule) -> PerRow:
        """log w(t)."""
        log_g, log_sigma = jnp.log(schedule.diffusion(t)), jnp.log(schedule.sigma(t))
        return math.log(0.5) + 2 * (log_g - log_sigma) + schedule.log_snr(t)


AnyTimes = UniformTimes | StratifiedTimes | LogNormalTimes | LogitNormalTimes
AnyWeight = PlainWeight | MinSNRWeight | EDMWeight | SigmoidWeight | LikelihoodWeight


def spread(u: PerRow, t_min: float, schedule: Schedule) -> PerRow:
    """Times from numbers in [0, 1): a step of a discrete schedule, or from t_min to 1."""
    if schedule.n_steps is not None:
        return (1 + jnp.floor(u * schedule.n_steps)) / schedule.n_steps
    return t_min + (1 - t_min) * u


class Perturbed(NamedTuple):
    """Data with noise at times of their own."""

    t: PerRow
    xt: Data


def perturb(x0: Data, schedule: Schedule, times: Times, rngs: nnx.Rngs) -> Perturbed:
    """x_t = α x₀ + σ ε at times drawn for each row."""
    t = wide(times(rngs, len(x0), schedule), x0)
    alpha, sigma = levels(schedule, t, x0)
    return Perturbed(t, alpha * x0 + sigma * noise.normal(rngs, x0.shape, x0.dtype))


def corrupt(denoiser: Denoiser, x0: Data, times: Times, rngs: nnx.Rngs, y: Condition | None = None) -> DenoisingOutputs:
    """Noisy data, and what the network says about them."""
    t, xt = perturb(x0, denoiser.schedule, times, rngs)
    return DenoisingOutputs(t=t, x0=x0, xt=xt, prediction=denoiser.value(xt, t, y))


def row_errors(denoiser: Denoiser, outputs: DenoisingOutputs) -> PerRow:
    """The squared error of the prediction, the mean over entries of each row."""
    xt, t = outputs["xt"], outputs["t"]
    target = convert(outputs["x0"], "x0", denoiser.prediction, xt, t, denoiser.schedule)
    return ((outputs["prediction"] - target) ** 2).reshape(len(xt), -1).mean(-1)


def weighted_loss(denoiser: Denoiser, outputs: DenoisingOutputs, weight: Weight, batch: Batch) -> DenoisingLosses:
    """The loss of eq. 1, the mean over the rows that count."""
    t, schedule = outputs["t"], denoiser.schedule
    error = row_errors(denoiser, outputs)
    gain = log_gain(denoiser.prediction, schedule.alpha(t), schedule.sigma(t))
    loss, count = masked_mean(jnp.exp(weight.log_weight(t, schedule) + 2 * gain) * error, batch)  # eq. 1
    return DenoisingLosses(loss=loss, error=masked_mean(error, batch)[0], weight=count)


def denoising_loss(
    denoiser: Denoiser, x0: Data, *, times: Times, weight: Weight, rngs: nnx.Rngs, y: Condition | None = None
) -> DenoisingLosses:
    """The loss of eq. 1 for a batch of data."""
    return weighted_loss(denoiser, corrupt(denoiser, x0, times, rngs, y), weight, {"x": x0})


def check_positive(where: str, **values: float) -> None:
    """Refuse numbers that are not positive."""
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"{where}: expected {name!r} > 0, got {value}. The published values are its defaults.")
