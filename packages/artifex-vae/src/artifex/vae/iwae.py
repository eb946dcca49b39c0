"""Importance weighted autoencoder.

    log w_i = log p(x|z_i) + log p(z_i) − log q(z_i|x),   z_1 … z_k ~ q(z|x)
    IWAE_k  = E log 1/k Σ_i w_i                                                                                  (1)
is a bound of log p(x) that tightens with k. Its plain gradient gets noisier for the encoder as k grows; the encoder's
gradient here is the doubly reparameterised one,
    ∇φ = E Σ_i w̃_i² ∂log w_i/∂z_i ∂z_i/∂φ,   w̃_i = w_i / Σ_j w_j,                                              (2)
which is equal in the mean. `gradient: plain` gives that of [1].

References:
    [1] Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2015, arXiv:1509.00519
    [2] Tucker et al., Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives, 2018, arXiv:1810.04152
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypedDict

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.prob import gaussian, noise
from artifex.core.prob.gaussian import Gaussian
from artifex.core.protocols import Batch
from artifex.core.training.rows import masked_mean
from artifex.vae.bound import iwae_bound, scale_gradient, with_gradient_of
from artifex.vae.likelihood import AnyLikelihood, Bernoulli
from artifex.vae.networks import AnyDecoder, AnyEncoder, DecoderConfig, EncoderConfig
from artifex.vae.standard import StandardVAE
from artifex.vae.vae import CoderConfig, Codes, Data, check_sizes

Draws = Float[Array, "k batch latent"]


@dataclass(frozen=True, kw_only=True)
class IWAEConfig(CoderConfig):
    """An importance weighted autoencoder."""

    encoder: AnyEncoder = field(default_factory=EncoderConfig)
    decoder: AnyDecoder = field(default_factory=DecoderConfig)
    latent_dim: int = 50
    k: int = 50  # draws for each example
    gradient: Literal["doubly_reparameterised", "plain"] = "doubly_reparameterised"
    likelihood: AnyLikelihood = field(default_factory=Bernoulli)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("IWAEConfig", self.encoder, self.latent_dim)
        if self.k < 1:
            raise ValueError(f"IWAEConfig: expected 'k' >= 1, got {self.k}. Use 1 for the plain bound.")


class IWAEOutputs(TypedDict):
    """The forward pass."""

    mean: Codes
    log_std: Codes
    z: Draws
    reconstruction: Float[Array, "batch *event n"]  # parameters of p(x|z) at the first draw


class IWAELosses(TypedDict):
    """Nats per example."""

    loss: Float[Array, ""]  # −IWAE_k
    elbo: Float[Array, ""]
    effective_draws: Float[Array, ""]  # 1 / Σ w̃², between 1 and k
    weight: Float[Array, ""]


class IWAE(StandardVAE):
    """An importance weighted autoencoder, also an `Autoencoder`."""

    def __call__(self, x: Data, *, rngs: nnx.Rngs | None = None) -> IWAEOutputs:
        """The posterior of x, k draws from it, and what the first decodes to."""
        q = self.coder.posterior(x)
        batch, latent = q.mean.shape
        eps = noise.normal(self.rngs_or_own(rngs), (batch, self.config.k, latent), q.mean.dtype)
        z = q.mean + jnp.exp(q.log_std) * eps.swapaxes(0, 1)
        return IWAEOutputs(mean=q.mean, log_std=q.log_std, z=z, reconstruction=self.coder.decoder(z[0]))

    def loss_fn(self, batch: Batch, outputs: IWAEOutputs) -> IWAELosses:
        """−IWAE_k in nats (eq. 1), with the gradient that the config names (eq. 2)."""
        q, x, z = Gaussian(outputs["mean"], outputs["log_std"]), batch["x"], outputs["z"]
        log_w = self.log_weights(x, z, q)
        share = jax.nn.softmax(log_w, axis=0)
        bound = iwae_bound(log_w)
        if self.config.gradient == "doubly_reparameterised":
            still, fixed = jax.lax.stop_gradient(share), jax.lax.stop_gradient(q)
            bound = with_gradient_of(
                bound, (still * self.log_weights(x, scale_gradient(z, still), fixed)).sum(0)
            )  # eq. 2
        loss, weight = masked_mean(-bound, batch)
        return IWAELosses(
            loss=loss,
            elbo=masked_mean(log_w.mean(0), batch)[0],
            effective_draws=masked_mean(1 / (share**2).sum(0), batch)[0],
            weight=weight,
        )

    def log_weights(self, x: Data, z: Draws, q: Gaussian) -> Float[Array, "k batch"]:
        """log w of each draw, in nats; all draws go through the decoder at once."""
        k, batch, latent = z.shape
        flat = z.reshape(k * batch, latent)
        log_px = self.coder.log_prob(jnp.tile(x, (k, *[1] * (x.ndim - 1))), flat)
        log_pz = gaussian.log_prob(gaussian.standard_like(Gaussian(flat, flat)), flat)
        log_qz = gaussian.log_prob(Gaussian(jnp.tile(q.mean, (k, 1)), jnp.tile(q.log_std, (k, 1))), flat)
        return (log_px + log_pz - log_qz).reshape(k, batch)

    def log_weight(self, x: Data, *, rngs: nnx.Rngs) -> Float[Array, " batch"]:
        """log w at one draw of z, in nats."""
        q = self.coder.posterior(x)
        return self.log_weights(x, gaussian.sample(q, rngs)[None], q)[0]
