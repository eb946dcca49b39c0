"""Likelihoods p(x|z): what the decoder's output means.

The decoder gives n numbers for each entry of x, in the last axis; with them

    bernoulli             ℓ           log p = x log σ(ℓ) + (1 − x) log σ(−ℓ)                                    (1)
    gaussian              μ, log σ    log N(x; μ, σ²), log σ ≥ −6                                               (2)
    sigma_gaussian        μ           the same with one learned log σ for all entries [1], soft-clipped at −6    (3)
    discretised_logistic  μ, log s    a logistic density in bins [2]
    categorical           ℓ_1 … ℓ_L   log softmax(ℓ) of the level of x                                          (4)
Log-likelihoods are sums over the entries of x: a mean would be another β.

References:
    [1] Rybkin, Daniilidis & Levine, Simple and Effective VAE Training with Calibrated Decoders, 2021, arXiv:2006.13202
    [2] Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, 2016, arXiv:1606.04934
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.config import Config
from artifex.core.data.spec import DataSpec
from artifex.core.prob import discretised_logistic, gaussian, noise
from artifex.core.prob.gaussian import Gaussian, over_event

Data = Float[Array, "batch *event"]
Params = Float[Array, "batch *event n"]
LOWEST_LOG_STD = -6.0  # below it, a pixel that is always the same would be worth infinitely many nats


class Likelihood(Protocol):
    """A conditional density of data given the decoder's output."""

    @property
    def width(self) -> int:
        """Numbers that the decoder gives for each entry."""
        ...

    def log_prob(self, params: Params, x: Data) -> Float[Array, " batch"]:
        """log p(x|z) in nats, one value per row."""
        ...

    def mean(self, params: Params) -> Data:
        """The mean of p(x|z)."""
        ...

    def sample(self, params: Params, rngs: nnx.Rngs) -> Data:
        """A draw from p(x|z)."""
        ...

    def check(self, spec: DataSpec) -> None:
        """Refuse data that the density does not cover."""
        ...


@dataclass(frozen=True, kw_only=True)
class Bernoulli(Config):
    """Black and white, or grey levels taken as probabilities (eq. 1)."""

    @property
    def width(self) -> int:
        """One logit."""
        return 1

    def log_prob(self, params: Params, x: Data) -> Float[Array, " batch"]:
        """log p(x|z) in nats (eq. 1)."""
        logits = params[..., 0]
        return over_event(x * jax.nn.log_sigmoid(logits) + (1 - x) * jax.nn.log_sigmoid(-logits))

    def mean(self, params: Params) -> Data:
        """The probability of 1."""
        return jax.nn.sigmoid(params[..., 0])

    def sample(self, params: Params, rngs: nnx.Rngs) -> Data:
        """Zeros and ones."""
        p = self.mean(params)
        return noise.bernoulli(rngs, p).astype(p.dtype)

    def check(self, spec: DataSpec) -> None:
        """Data lie in [0, 1]."""
        _within(spec, 0.0, 1.0, "bernoulli", "gaussian")


@dataclass(frozen=True, kw_only=True)
class GaussianLikelihood(Config, tag="gaussian"):
    """Real numbers with a learned deviation each, or a fixed one (eq. 2)."""

    std: float | None = None  # the same for all entries; learned for each when None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.std is not None and self.std <= 0:
            raise ValueError(f"GaussianLikelihood: expected 'std' > 0, got {self.std}. Leave it out to learn it.")

    @property
    def width(self) -> int:
        """Mean, and log deviation where it is learned."""
        return 2 if self.std is None else 1

    def density(self, params: Params) -> Gaussian:
        """p(x|z) as a Gaussian."""
        mean = params[..., 0]
        if self.std is not None:
            return Gaussian(mean, jnp.full_like(mean, math.log(self.std)))
        return Gaussian(mean, soft_clip(params[..., 1]))

    def log_prob(self, params: Params, x: Data) -> Float[Array, " batch"]:
        """log p(x|z) in nats (eq. 2)."""
        return gaussian.log_prob(self.density(params), x)

    def mean(self, params: Params) -> Data:
        """μ."""
        return params[..., 0]

    def sample(self, params: Params, rngs: nnx.Rngs) -> Data:
        """μ + σ ε."""
        return gaussian.sample(self.density(params), rngs)

    def check(self, spec: DataSpec) -> None:
        """Any numbers will do."""


@dataclass(frozen=True, kw_only=True)
class SigmaGaussian(Config):
    """Real numbers with one learned deviation for all entries (eq. 3)."""

    @property
    def width(self) -> int:
        """Mean, and the shared log deviation that the decoder adds."""
        return 2

    def log_prob(self, params: Params, x: Data) -> Float[Array, " batch"]:
        """log p(x|z) in nats (eq. 3)."""
        return gaussian.log_prob(Gaussian(params[..., 0], soft_clip(params[..., 1])), x)

    def mean(self, params: Params) -> Data:
        """μ."""
        return params[..., 0]

    def sample(self, params: Params, rngs: nnx.Rngs) -> Data:
        """μ + σ ε."""
        return gaussian.sample(Gaussian(params[..., 0], soft_clip(params[..., 1])), rngs)

    def check(self, spec: DataSpec) -> None:
        """Any numbers will do."""


@dataclass(frozen=True, kw_only=True)
class DiscretisedLogistic(Config):
    """Numbers in equal levels, whose order matters [2]."""

    levels: int = 256
    low: float = 0.0
    high: float = 1.0

    @property
    def width(self) -> int:
        """Mean and log scale."""
        return 2

    def log_prob(self, params: Params, x: Data) -> Float[Array, " batch"]:
        """log P(x|z) in nats."""
        mean, log_scale = self._parts(params)
        bins = {"levels": self.levels, "low": self.low, "high": self.high}
        return over_event(discretised_logistic.log_prob(x, mean, log_scale, **bins))

    def mean(self, params: Params) -> Data:
        """The centre of the logistic density, within the levels."""
        return jnp.clip(self._parts(params)[0], self.low, self.high)

    def sample(self, params: Params, rngs: nnx.Rngs) -> Data:
        """Levels."""
        mean, log_scale = self._parts(params)
        return discretised_logistic.sample(rngs, mean, log_scale, levels=self.levels, low=self.low, high=self.high)

    def _parts(self, params: Params) -> tuple[Data, Data]:
        """Centre and log scale: a decoder output of 0 is the middle of the range and a tenth of it."""
        span = self.high - self.low
        return self.low + span * (0.5 + params[..., 0]), math.log(0.1 * span) + soft_clip(params[..., 1])

    def check(self, spec: DataSpec) -> None:
        """Data lie on the levels."""
        _on_levels(spec, self.levels, self.low, self.high, "discretised_logistic")


@dataclass(frozen=True, kw_only=True)
class Categorical(Config):
    """Numbers in levels, any distribution over them (eq. 4)."""

    levels: int = 2
    low: float = 0.0
    high: float = 1.0

    @property
    def width(self) -> int:
        """A logit for each level."""
        return self.levels

    def log_prob(self, params: Params, x: Data) -> Float[Array, " batch"]:
        """log P(x|z) in nats (eq. 4)."""
        index = jnp.round((x - self.low) / (self.high - self.low) * (self.levels - 1)).astype(jnp.int32)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(params), index[..., None], axis=-1)
        return over_event(chosen[..., 0])

    def mean(self, params: Params) -> Data:
        """The mean level."""
        return jax.nn.softmax(params) @ jnp.linspace(self.low, self.high, self.levels, dtype=params.dtype)

    def sample(self, params: Params, rngs: nnx.Rngs) -> Data:
        """Levels."""
        values = jnp.linspace(self.low, self.high, self.levels, dtype=params.dtype)
        return values[noise.categorical(rngs, params)]

    def check(self, spec: DataSpec) -> None:
        """Data lie on the levels."""
        _on_levels(spec, self.levels, self.low, self.high, "categorical")


AnyLikelihood = Bernoulli | GaussianLikelihood | SigmaGaussian | DiscretisedLogistic | Categorical


def likelihood_for(spec: DataSpec) -> AnyLikelihood:
    """The likelihood that data call for: of black and white, of levels, or of real numbers."""
    if spec.levels is None or spec.low is None or spec.high is None:
        return SigmaGaussian()
    if (spec.levels, spec.low, spec.high) == (2, 0, 1):
        return Bernoulli()
    return DiscretisedLogistic(levels=spec.levels, low=spec.low, high=spec.high)


def soft_clip(log_std: Float[Array, "*event"], low: float = LOWEST_LOG_STD) -> Float[Array, "*event"]:
    """log σ above `low`, smoothly: low + softplus(log σ − low) [1]."""
    return low + jax.nn.softplus(log_std - low)


def _within(spec: DataSpec, low: float, high: float, name: str, other: str) -> None:
    if spec.low is not None and spec.high is not None and (spec.low < low or spec.high > high):
        raise ValueError(
            f"{name} likelihood: expected data in [{low}, {high}], got [{spec.low}, {spec.high}]. "
            f"Scale the data, or choose likelihood: {other}."
        )


def _on_levels(spec: DataSpec, levels: int, low: float, high: float, name: str) -> None:
    if (spec.levels, spec.low, spec.high) != (levels, low, high):
        raise ValueError(
            f"{name} likelihood: expected data with {levels} levels in [{low}, {high}], got {spec.levels} in "
            f"[{spec.low}, {spec.high}]. Set levels, low and high to those of the data."
        )


def n_entries(event: tuple[int, ...]) -> int:
    """Entries of an event."""
    return int(np.prod(event))
