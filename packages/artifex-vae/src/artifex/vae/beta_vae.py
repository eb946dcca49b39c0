"""β-VAE: a heavier KL term, or a KL term held at a capacity.

    loss = −E_q[log p(x|z)] + β KL                                    [1]                                        (1)
    loss = −E_q[log p(x|z)] + γ |KL − C(s)|,  C(s) = C min(1, s / S)   [2]                                       (2)
where KL in (2) is the mean over the batch, so that the loss is no mean over examples and parts of a batch do not add
up: gradient accumulation is refused there. A capacity C (nats) chooses (2).

Differs:
    [2] raises C over 100,000 updates; S is `capacity_steps`, 25,000 unless set.

References:
    [1] Higgins et al., beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework, ICLR 2017
    [2] Burgess et al., Understanding disentangling in beta-VAE, 2018, arXiv:1804.03599
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.prob import gaussian
from artifex.core.prob.gaussian import Gaussian
from artifex.core.protocols import Batch
from artifex.core.training.objective import TrainingSpec
from artifex.core.training.rows import masked_mean
from artifex.vae.bound import warm_up
from artifex.vae.likelihood import AnyLikelihood, Bernoulli
from artifex.vae.networks import AnyDecoder, AnyEncoder, DecoderConfig, EncoderConfig
from artifex.vae.standard import StandardVAE
from artifex.vae.vae import (
    CoderConfig,
    Data,
    VAELosses,
    VAEOutputs,
    active_units,
    check_sizes,
    check_weights,
    scheduled_spec,
)


@dataclass(frozen=True, kw_only=True)
class BetaVAEConfig(CoderConfig):
    """A β-VAE, by β or by capacity."""

    encoder: AnyEncoder = field(default_factory=EncoderConfig)
    decoder: AnyDecoder = field(default_factory=DecoderConfig)
    latent_dim: int = 10
    beta: float = 4.0  # weight of the KL term (eq. 1)
    capacity: float | None = None  # nats; chooses eq. 2, where [2] uses 25
    gamma: float = 1000.0  # weight in eq. 2
    capacity_steps: int = 25_000  # steps over which the capacity rises from 0
    likelihood: AnyLikelihood = field(default_factory=Bernoulli)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("BetaVAEConfig", self.encoder, self.latent_dim)
        check_weights("BetaVAEConfig", beta=self.beta, capacity=self.capacity or 0, gamma=self.gamma)


class BetaVAE(StandardVAE):
    """A β-VAE, also an `Autoencoder`."""

    def __call__(self, x: Data, *, rngs: nnx.Rngs | None = None) -> VAEOutputs:
        """The posterior of x, a draw from it, and what it decodes to."""
        q = self.coder.posterior(x)
        z = gaussian.sample(q, self.rngs_or_own(rngs))
        return VAEOutputs(mean=q.mean, log_std=q.log_std, z=z, reconstruction=self.coder.decoder(z))

    def loss_fn(self, batch: Batch, outputs: VAEOutputs, *, step: Int[Array, ""] | None = None) -> VAELosses:
        """Reconstruction and the KL term of eq. 1 or 2, in nats."""
        q = Gaussian(outputs["mean"], outputs["log_std"])
        nll, weight = masked_mean(-self.config.likelihood.log_prob(outputs["reconstruction"], batch["x"]), batch)
        kl, _ = masked_mean(gaussian.kl_to_standard_normal(q), batch)
        loss = nll + self.kl_cost(kl, step)
        return VAELosses(loss=loss, reconstruction=nll, kl=kl, active_units=active_units(q.mean), weight=weight)

    def kl_cost(self, kl: Float[Array, ""], step: Int[Array, ""] | None = None) -> Float[Array, ""]:
        """What the mean KL costs: β KL (eq. 1), or γ |KL − C| (eq. 2)."""
        config = self.config
        capacity = (config.capacity or 0.0) * warm_up(step, config.capacity_steps)
        held = config.gamma * jnp.abs(kl - capacity)
        return config.beta * kl if config.capacity is None else held

    def training_spec(self) -> TrainingSpec:
        """The loss with the step for the capacity."""
        return scheduled_spec(additive=self.config.capacity is None)
