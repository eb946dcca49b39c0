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

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.config import ModelConfig
from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.prob import gaussian, noise
from artifex.core.prob.gaussian import Gaussian
from artifex.core.protocols import Batch
from artifex.core.training.objective import TrainingSpec
from artifex.vae.bound import bound_scores, masked_mean, warm_up
from artifex.vae.likelihood import AnyLikelihood, Bernoulli
from artifex.vae.networks import AnyDecoder, AnyEncoder, Coder, DecoderConfig, EncoderConfig
from artifex.vae.vae import (
    Codes,
    Data,
    VAELosses,
    VAEOutputs,
    active_units,
    check_data,
    check_sizes,
    check_weights,
    scheduled_spec,
)


@dataclass(frozen=True, kw_only=True)
class BetaVAEConfig(ModelConfig):
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


class BetaVAE(GenerativeModel):
    """A β-VAE, also an `Autoencoder`."""

    def __init__(self, config: BetaVAEConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.coder = Coder((config.encoder, config.decoder, config.likelihood), config.latent_dim, rngs=rngs)

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

    def generate(
        self,
        n_samples: int = 1,
        *,
        temperature: float | Float[Array, ""] = 1.0,
        mean: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> Data:
        """Draws from p(x|z) with z ~ N(0, I) scaled by `temperature`; E[x|z] instead where `mean`."""
        rngs = self.rngs_or_own(rngs)
        z = temperature * noise.normal(rngs, (n_samples, self.config.latent_dim))
        return self.coder.draw(z, rngs, mean=mean)

    def encode(self, x: Data) -> Codes:
        """The mean of q(z|x)."""
        return self.coder.posterior(x).mean

    def decode(self, z: Codes) -> Data:
        """The mean of p(x|z)."""
        return self.coder.mean(z)

    def log_weight(self, x: Data, *, rngs: nnx.Rngs) -> Float[Array, " batch"]:
        """log p(x, z) − log q(z|x) at one draw of z, in nats."""
        q = self.coder.posterior(x)
        z = gaussian.sample(q, rngs)
        log_pz = gaussian.log_prob(gaussian.standard_like(q), z)
        return self.coder.log_prob(x, z) + log_pz - gaussian.log_prob(q, z)

    def scores(self, x: Data, *, rngs: nnx.Rngs) -> Mapping[str, Float[Array, " batch"]]:
        """ELBO (β = 1) and IWAE-50 of each row, in nats."""
        return bound_scores(self, x, rngs=rngs)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, or that the likelihood does not cover."""
        check_data(self.config, spec)

    def training_spec(self) -> TrainingSpec:
        """The loss with the step for the capacity."""
        return scheduled_spec(additive=self.config.capacity is None)
