"""Variational autoencoder.

    x                           data                                [batch, *event]
    z                           code                                [batch, latent]
    q(z|x) = N(μ(x), σ(x)² I)   encoder,   z = μ + σ ε
    p(x|z)                      decoder with a likelihood
Training maximises a lower bound of log p(x),
    ELBO = E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z)),                                                                (1)
    KL   = ½ Σᵢ (μᵢ² + σᵢ² − 1 − log σᵢ²)    for p(z) = N(0, I),                                                 (2)
with sums over the entries of x and of z, and a mean over examples. β = 1 is the bound; `warmup_steps` raises β from 0,
and `free_bits` keeps a latent dimension from being dropped.

References:
    [1] Kingma & Welling, Auto-Encoding Variational Bayes, 2013, arXiv:1312.6114
    [2] Rezende, Mohamed & Wierstra, Stochastic Backpropagation, 2014, arXiv:1401.4082
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypedDict

from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.config import ModelConfig
from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.prob import gaussian
from artifex.core.prob.gaussian import Gaussian
from artifex.core.protocols import Batch, Losses
from artifex.core.training.objective import Objective, StepContext, TrainingSpec, forward_outputs
from artifex.core.training.rows import masked_mean
from artifex.vae.bound import bound_scores, free_bits, warm_up
from artifex.vae.likelihood import AnyLikelihood, Bernoulli, likelihood_for
from artifex.vae.networks import AnyDecoder, AnyEncoder, Coder, DecoderConfig, EncoderConfig
from artifex.vae.prior import AnyPrior, StandardNormalConfig, make_prior

Data = Float[Array, "batch *event"]
Codes = Float[Array, "batch latent"]


@dataclass(frozen=True, kw_only=True)
class CoderConfig(ModelConfig):
    """What configs with the fields `decoder` and `likelihood` share."""

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """The decoder's shape and the likelihood are those of the data."""
        return cls.fitting(spec)

    @classmethod
    def fitting(cls, spec: DataSpec, **fields: Any) -> Self:
        """A config with the data's shape and likelihood, and other fields."""
        return cls(**{"decoder": DecoderConfig(output_dim=spec.shape), "likelihood": likelihood_for(spec)} | fields)


@dataclass(frozen=True, kw_only=True)
class VAEConfig(CoderConfig):
    """A variational autoencoder."""

    encoder: AnyEncoder = field(default_factory=EncoderConfig)
    decoder: AnyDecoder = field(default_factory=DecoderConfig)
    latent_dim: int = 64
    beta: float = 1.0  # weight of the KL term
    warmup_steps: int = 0  # steps over which beta rises from 0
    free_bits: float = 0.0  # nats that each latent dimension may use at no cost
    prior: AnyPrior = field(default_factory=StandardNormalConfig)
    likelihood: AnyLikelihood = field(default_factory=Bernoulli)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(type(self).__name__, self.encoder, self.latent_dim)
        check_weights(type(self).__name__, beta=self.beta, warmup_steps=self.warmup_steps, free_bits=self.free_bits)


class VAEOutputs(TypedDict):
    """The forward pass."""

    mean: Codes
    log_std: Codes
    z: Codes
    reconstruction: Float[Array, "batch *event n"]  # parameters of p(x|z)


class VAELosses(TypedDict):
    """Nats per example; `loss` is −ELBO with the weights of the config."""

    loss: Float[Array, ""]
    reconstruction: Float[Array, ""]  # −log p(x|z)
    kl: Float[Array, ""]
    active_units: Float[Array, ""]  # dimensions whose mean varies by more than 0.01: the others have collapsed
    weight: Float[Array, ""]


class VAE(GenerativeModel):
    """A variational autoencoder, also an `Autoencoder`."""

    def __init__(self, config: VAEConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        latent = config.latent_dim
        self.coder = Coder((config.encoder, config.decoder, config.likelihood), latent, rngs=rngs)
        self.prior = make_prior(config.prior, latent, rngs=rngs)

    def __call__(self, x: Data, *, rngs: nnx.Rngs | None = None) -> VAEOutputs:
        """The posterior of x, a draw from it, and what it decodes to."""
        q = self.posterior(x)
        z = gaussian.sample(q, self.rngs_or_own(rngs))
        return VAEOutputs(mean=q.mean, log_std=q.log_std, z=z, reconstruction=self.coder.decoder(z))

    def loss_fn(self, batch: Batch, outputs: VAEOutputs, *, step: Int[Array, ""] | None = None) -> VAELosses:
        """−ELBO in nats, the mean over examples (eq. 1); `step` places it in the warm-up."""
        q = Gaussian(outputs["mean"], outputs["log_std"])
        nll = -self.config.likelihood.log_prob(outputs["reconstruction"], batch["x"])
        kl = free_bits(self.prior.kl_entries(q, outputs["z"]), self.config.free_bits)
        beta = self.config.beta * warm_up(step, self.config.warmup_steps)
        loss, weight = masked_mean(nll + beta * kl, batch)
        return VAELosses(
            loss=loss,
            reconstruction=masked_mean(nll, batch)[0],
            kl=masked_mean(kl, batch)[0],
            active_units=active_units(q.mean),
            weight=weight,
        )

    def generate(
        self,
        n_samples: int = 1,
        *,
        temperature: float | Float[Array, ""] = 1.0,
        mean: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> Data:
        """Draws from p(x|z) with z from the prior, scaled by `temperature`; E[x|z] instead where `mean`."""
        rngs = self.rngs_or_own(rngs)
        return self.coder.draw(temperature * self.prior.sample(n_samples, rngs), rngs, mean=mean)

    def posterior(self, x: Data) -> Gaussian:
        """q(z|x)."""
        return self.coder.posterior(x)

    def encode(self, x: Data) -> Codes:
        """The mean of q(z|x)."""
        return self.posterior(x).mean

    def decode(self, z: Codes) -> Data:
        """The mean of p(x|z)."""
        return self.coder.mean(z)

    def log_weight(self, x: Data, *, rngs: nnx.Rngs) -> Float[Array, " batch"]:
        """log p(x, z) − log q(z|x) at one draw of z, in nats."""
        q = self.posterior(x)
        z = gaussian.sample(q, rngs)
        return self.coder.log_prob(x, z) + self.prior.log_prob(z) - gaussian.log_prob(q, z)

    def scores(self, x: Data, *, rngs: nnx.Rngs) -> Mapping[str, Float[Array, " batch"]]:
        """ELBO and IWAE-50 of each row, in nats."""
        return bound_scores(self, x, rngs=rngs)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, or that the likelihood does not cover."""
        check_data(self.config, spec)

    def training_spec(self) -> TrainingSpec:
        """−ELBO, with the step for the warm-up."""
        # Free bits look at a batch mean, which the means of parts do not give.
        return scheduled_spec(additive=self.config.free_bits == 0)


def stepped_loss(model: Any, batch: Batch, ctx: StepContext) -> Losses:
    """`loss_fn` of the forward pass at the step where training stands."""
    return model.loss_fn(batch, forward_outputs(model, batch, ctx), step=ctx.step)


def scheduled_spec(*, additive: bool = True) -> TrainingSpec:
    """One objective whose loss knows the step."""
    return TrainingSpec(objectives=(Objective(name="loss", loss=stepped_loss, additive=additive),))


def active_units(mean: Codes) -> Float[Array, ""]:
    """Latent dimensions whose posterior mean varies over the batch by more than 0.01."""
    return (mean.var(0) > 0.01).sum().astype(mean.dtype)


def check_sizes(where: str, encoder: AnyEncoder, latent_dim: int) -> None:
    """Refuse an encoder made for another code."""
    if latent_dim < 1 or encoder.latent_dim not in (None, latent_dim):
        raise ValueError(
            f"{where}: expected encoder.latent_dim and latent_dim to agree and be >= 1, got {encoder.latent_dim} and "
            f"{latent_dim}. Leave encoder.latent_dim out."
        )


def check_weights(where: str, **weights: float) -> None:
    """Refuse negative weights."""
    for name, value in weights.items():
        if value < 0:
            raise ValueError(
                f"{where}: expected {name!r} >= 0, got {value}. A negative weight rewards the encoder for leaving the "
                "prior; use 0 to switch it off."
            )


def check_data(config: Any, spec: DataSpec) -> None:
    """Refuse data of another shape, or that the likelihood does not cover."""
    if spec.shape != config.decoder.output_dim:
        raise ValueError(
            f"{type(config).__name__}: expected data of shape {config.decoder.output_dim}, got {spec.shape}. "
            f"Set model.decoder.output_dim to {list(spec.shape)}."
        )
    config.likelihood.check(spec)
