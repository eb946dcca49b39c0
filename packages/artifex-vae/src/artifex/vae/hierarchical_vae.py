"""Ladder VAE: several stochastic levels, whose inference meets the generative model on the way down.

    d_l            deterministic features going up,   d_0 = x                                                    (1)
    q̂(z_l|x)      = N(μ̂_l(d_l), σ̂_l²(d_l))            bottom-up estimate                                         (2)
    p(z_L)         = N(0, I),   p(z_l|z_{l+1}) = N(μ_p, σ_p²)(z_{l+1})            top-down prior                  (3)
    q(z_l|x, z_{l+1}) ∝ q̂(z_l|x) p(z_l|z_{l+1})       precisions added; at the top q = q̂                         (4)
    ELBO           = E log p(x|z_1) − β Σ_l KL(q_l ‖ p_l),   β raised from 0 over the warm-up                    (5)

Differs:
    [1] normalises every layer by batch; here the features are not normalised, so that a row's bound does not depend
    on the rows beside it. Warm-up is counted in steps, not epochs.

References:
    [1] Sønderby et al., Ladder Variational Autoencoders, 2016, arXiv:1602.02282
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, TypedDict

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.nn.mlp import ACTIVATIONS, MLP
from artifex.core.prob import gaussian, noise
from artifex.core.prob.gaussian import Gaussian
from artifex.core.protocols import Batch
from artifex.core.training.objective import TrainingSpec
from artifex.core.training.rows import masked_mean
from artifex.vae.bound import bound_scores, warm_up
from artifex.vae.likelihood import AnyLikelihood, Bernoulli, n_entries
from artifex.vae.networks import DecoderConfig, make_decoder
from artifex.vae.vae import CoderConfig, Codes, Data, check_data, check_weights, scheduled_spec

LOWEST, HIGHEST = -5.0, 3.0  # log σ of every level: outside, the product of eq. 4 loses its digits


@dataclass(frozen=True, kw_only=True)
class HierarchicalVAEConfig(CoderConfig):
    """A ladder VAE; levels are counted from the data up."""

    latent_dims: tuple[int, ...] = (64, 32)  # of z_1, z_2, …
    hidden_dims: tuple[int, ...] = (512, 256)  # features on the way up, one a level
    decoder: DecoderConfig = field(default_factory=lambda: DecoderConfig(hidden_dims=(512,)))
    beta: float = 1.0  # weight of the KL terms
    warmup_steps: int = 0  # steps over which beta rises from 0; [1] takes 200 epochs
    likelihood: AnyLikelihood = field(default_factory=Bernoulli)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weights("HierarchicalVAEConfig", beta=self.beta, warmup_steps=self.warmup_steps)
        if len(self.latent_dims) < 2 or len(self.hidden_dims) != len(self.latent_dims):
            raise ValueError(
                "HierarchicalVAEConfig: expected two levels or more with one hidden width each, got latent_dims "
                f"{self.latent_dims} and hidden_dims {self.hidden_dims}. One level is the model 'vae'."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """The decoder's shape and the likelihood are those of the data."""
        return cls.fitting(spec, decoder=DecoderConfig(hidden_dims=(512,), output_dim=spec.shape))


class Descent(TypedDict):
    """The way down, by level from z_1."""

    z: list[Float[Array, "batch _"]]
    posterior: list[Gaussian]
    prior: list[Gaussian]
    reconstruction: Float[Array, "batch *event n"]  # parameters of p(x|z_1)


class HierarchicalVAE(GenerativeModel):
    """A ladder VAE, also an `Autoencoder` of its lowest code."""

    def __init__(self, config: HierarchicalVAEConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        latent, hidden = config.latent_dims, config.hidden_dims
        ins = (n_entries(config.decoder.output_dim), *hidden[:-1])
        self.up = nnx.List(MLP((i, h, h), rngs=rngs) for i, h in zip(ins, hidden, strict=True))
        self.estimate = nnx.List(MLP((h, 2 * z), rngs=rngs) for h, z in zip(hidden, latent, strict=True))
        above = zip(latent[1:], hidden[:-1], latent[:-1], strict=True)
        self.down = nnx.List(MLP((z_up, h, 2 * z), rngs=rngs) for z_up, h, z in above)
        self.decoder = make_decoder(config.decoder, (latent[0], 0), config.likelihood, rngs=rngs)

    def __call__(self, x: Data, *, rngs: nnx.Rngs | None = None) -> Descent:
        """Draws, posteriors and priors of every level, and what z_1 decodes to."""
        estimates = self.estimates(x)
        return self.descend(len(x), estimates, self.rngs_or_own(rngs))

    def estimates(self, x: Data) -> list[Gaussian]:
        """q̂ of every level, from z_1 (eq. 1, 2)."""
        d = x.reshape(len(x), -1)
        found = []
        for up, estimate in zip(self.up, self.estimate, strict=True):
            d = ACTIVATIONS["relu"](up(d))
            found.append(bounded(estimate(d)))
        return found

    def descend(
        self,
        n: int,
        estimates: list[Gaussian] | None,
        rngs: nnx.Rngs,
        temperature: float | Float[Array, ""] = 1.0,
    ) -> Descent:
        """Down from the top, drawing from the posterior, or without estimates from the prior (eq. 3, 4)."""
        levels = len(self.config.latent_dims)
        out = Descent(z=[], posterior=[], prior=[], reconstruction=jnp.zeros(()))
        for level in reversed(range(levels)):
            if level == levels - 1:
                zero = jnp.zeros((n, self.config.latent_dims[level]))
                p = Gaussian(zero, zero)
                q = p if estimates is None else estimates[level]
            else:
                p = bounded(self.down[level](out["z"][0]))
                q = p if estimates is None else gaussian.product(estimates[level], p)  # eq. 4
            z = q.mean + temperature * jnp.exp(q.log_std) * noise.normal(rngs, q.mean.shape, q.mean.dtype)
            out["z"].insert(0, z)
            out["posterior"].insert(0, q)
            out["prior"].insert(0, p)
        out["reconstruction"] = self.decoder(out["z"][0])
        return out

    def loss_fn(
        self, batch: Batch, outputs: Descent, *, step: Int[Array, ""] | None = None
    ) -> dict[str, Float[Array, ""]]:
        """−ELBO in nats with the KL of each level as `kl_1`, `kl_2`, … (eq. 5)."""
        nll = -self.config.likelihood.log_prob(outputs["reconstruction"], batch["x"])
        levels = [gaussian.kl(q, p) for q, p in zip(outputs["posterior"], outputs["prior"], strict=True)]
        beta = self.config.beta * warm_up(step, self.config.warmup_steps)
        loss, weight = masked_mean(nll + beta * sum(levels), batch)
        kls = {f"kl_{i + 1}": masked_mean(kl, batch)[0] for i, kl in enumerate(levels)}
        return {"loss": loss, "reconstruction": masked_mean(nll, batch)[0], **kls, "weight": weight}

    def generate(
        self,
        n_samples: int = 1,
        *,
        temperature: float | Float[Array, ""] = 1.0,
        mean: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> Data:
        """Draws from the prior down to p(x|z_1), every level's deviation scaled by `temperature`."""
        rngs = self.rngs_or_own(rngs)
        params = self.descend(n_samples, None, rngs, temperature)["reconstruction"]
        return self.config.likelihood.mean(params) if mean else self.config.likelihood.sample(params, rngs)

    def encode(self, x: Data) -> Codes:
        """z_1 on the way down through the means of the posteriors."""
        out = self.descend(len(x), self.estimates(x), nnx.Rngs(0), temperature=0.0)
        return out["z"][0]

    def decode(self, z: Codes) -> Data:
        """The mean of p(x|z_1)."""
        return self.config.likelihood.mean(self.decoder(z))

    def log_weight(self, x: Data, *, rngs: nnx.Rngs) -> Float[Array, " batch"]:
        """log p(x, z) − log q(z|x) at one draw of all levels, in nats."""
        out = self.descend(len(x), self.estimates(x), rngs)
        levels = zip(out["z"], out["posterior"], out["prior"], strict=True)
        ratio = [gaussian.log_prob(p, z) - gaussian.log_prob(q, z) for z, q, p in levels]
        return self.config.likelihood.log_prob(out["reconstruction"], x) + sum(ratio)

    def scores(self, x: Data, *, rngs: nnx.Rngs) -> Mapping[str, Float[Array, " batch"]]:
        """ELBO and IWAE-50 of each row, in nats."""
        return bound_scores(self, x, rngs=rngs)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, or that the likelihood does not cover."""
        check_data(self.config, spec)

    def training_spec(self) -> TrainingSpec:
        """−ELBO, with the step for the warm-up."""
        return scheduled_spec()


def bounded(numbers: Float[Array, "batch twice"]) -> Gaussian:
    """A Gaussian from a network's outputs, its log σ softly within [LOWEST, HIGHEST]."""
    mean, log_std = jnp.split(numbers, 2, axis=-1)
    middle, half = (HIGHEST + LOWEST) / 2, (HIGHEST - LOWEST) / 2
    return Gaussian(mean, middle + half * jnp.tanh((log_std - middle) / half))
