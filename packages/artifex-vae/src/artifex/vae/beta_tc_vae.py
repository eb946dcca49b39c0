"""β-TC-VAE: the KL term taken apart, with a weight on the total correlation.

    E_x KL(q(z|x) ‖ p(z)) = I(x; z) + KL(q(z) ‖ Π_j q(z_j)) + Σ_j KL(q(z_j) ‖ p(z_j))                            (1)
                            mutual information, total correlation, dimension-wise KL
    loss = −E_q[log p(x|z)] + α I + β TC + γ dimension-wise KL                                                   (2)
The densities of the aggregate posterior q(z) = 1/N Σ_n q(z|x_n) come from the batch of M by minibatch stratified
sampling, with N the size of the training set:

    log q(z_i) ≈ log Σ_j W_ij q(z_i|x_j),   W_ii = 1/N,  W_i,i* = (N − M + 1) / (N (M − 1)),  else 1/(M − 1)      (3)
where i* is one other row. With M = N all weights are 1/N and (3) is exact.

Differs:
    equation S6 of [1] leaves open which row is i*; it is the next one in the batch.

References:
    [1] Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018, arXiv:1802.04942
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Self, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec
from artifex.core.prob import gaussian
from artifex.core.prob.gaussian import LOG_2PI, Gaussian
from artifex.core.protocols import Batch
from artifex.core.training.objective import Objective, TrainingSpec, forward_loss
from artifex.core.training.rows import masked_mean
from artifex.vae.likelihood import AnyLikelihood, Bernoulli
from artifex.vae.networks import AnyDecoder, AnyEncoder, DecoderConfig, EncoderConfig
from artifex.vae.standard import StandardVAE
from artifex.vae.vae import CoderConfig, Codes, Data, VAEOutputs, check_sizes, check_weights


@dataclass(frozen=True, kw_only=True)
class BetaTCVAEConfig(CoderConfig):
    """A β-TC-VAE; the size of the training set is needed."""

    encoder: AnyEncoder = field(default_factory=EncoderConfig)
    decoder: AnyDecoder = field(default_factory=DecoderConfig)
    latent_dim: int = 10
    n_train: int = 0  # examples in the training set, N in eq. 3
    alpha: float = 1.0  # weight of the mutual information
    beta: float = 6.0  # weight of the total correlation
    gamma: float = 1.0  # weight of the dimension-wise KL
    likelihood: AnyLikelihood = field(default_factory=Bernoulli)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("BetaTCVAEConfig", self.encoder, self.latent_dim)
        check_weights("BetaTCVAEConfig", alpha=self.alpha, beta=self.beta, gamma=self.gamma)
        if self.n_train < 2:
            raise ValueError(
                f"BetaTCVAEConfig: expected 'n_train', the number of training examples (>= 2), got {self.n_train}. "
                "The estimate of the total correlation needs it."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape, likelihood and number are those of the data."""
        return cls.fitting(spec, n_train=n)


class KLParts(NamedTuple):
    """The terms of eq. 1 in nats, one value per row; they add up to log q(z|x) − log p(z)."""

    mutual_information: Float[Array, " batch"]
    total_correlation: Float[Array, " batch"]
    dimension_wise: Float[Array, " batch"]


class BetaTCVAELosses(TypedDict):
    """Nats per example."""

    loss: Float[Array, ""]
    reconstruction: Float[Array, ""]
    mutual_information: Float[Array, ""]
    total_correlation: Float[Array, ""]
    dimension_wise: Float[Array, ""]
    weight: Float[Array, ""]


class BetaTCVAE(StandardVAE):
    """A β-TC-VAE, also an `Autoencoder`."""

    def __call__(self, x: Data, *, rngs: nnx.Rngs | None = None) -> VAEOutputs:
        """The posterior of x, a draw from it, and what it decodes to."""
        q = self.coder.posterior(x)
        z = gaussian.sample(q, self.rngs_or_own(rngs))
        return VAEOutputs(mean=q.mean, log_std=q.log_std, z=z, reconstruction=self.coder.decoder(z))

    def loss_fn(self, batch: Batch, outputs: VAEOutputs) -> BetaTCVAELosses:
        """Reconstruction and the weighted parts of the KL (eq. 2), in nats."""
        config = self.config
        parts = kl_parts(Gaussian(outputs["mean"], outputs["log_std"]), outputs["z"], config.n_train)
        nll = -config.likelihood.log_prob(outputs["reconstruction"], batch["x"])
        cost = (
            config.alpha * parts.mutual_information
            + config.beta * parts.total_correlation
            + config.gamma * parts.dimension_wise
        )  # eq. 2
        loss, weight = masked_mean(nll + cost, batch)
        return BetaTCVAELosses(
            loss=loss,
            reconstruction=masked_mean(nll, batch)[0],
            mutual_information=masked_mean(parts.mutual_information, batch)[0],
            total_correlation=masked_mean(parts.total_correlation, batch)[0],
            dimension_wise=masked_mean(parts.dimension_wise, batch)[0],
            weight=weight,
        )

    def training_spec(self) -> TrainingSpec:
        """The loss as it is; it compares the rows of a batch, so parts of one do not add up."""
        return TrainingSpec(objectives=(Objective(name="loss", loss=forward_loss, additive=False),))


def kl_parts(q: Gaussian, z: Codes, n_train: int) -> KLParts:
    """The terms of the KL, by minibatch stratified sampling (eq. 1, 3)."""
    pairs = -0.5 * ((z[:, None] - q.mean[None]) * jnp.exp(-q.log_std[None])) ** 2 - q.log_std[None] - 0.5 * LOG_2PI
    log_w = log_stratified_weights(len(z), n_train).astype(z.dtype)
    log_qz = jax.nn.logsumexp(log_w + pairs.sum(-1), axis=1)
    log_qz_each = jax.nn.logsumexp(log_w[..., None] + pairs, axis=1).sum(-1)
    log_qz_given_x = gaussian.log_prob(q, z)
    log_pz = gaussian.log_prob(gaussian.standard_like(q), z)
    return KLParts(log_qz_given_x - log_qz, log_qz - log_qz_each, log_qz_each - log_pz)


def log_stratified_weights(batch: int, n_train: int) -> Float[np.ndarray, "batch batch"]:
    """log W (eq. 3).

    Raises:
        ValueError: the batch has one row, or more than the training set.
    """
    if not 2 <= batch <= n_train:
        raise ValueError(
            f"BetaTCVAE: expected a batch of 2 to n_train = {n_train} rows, got {batch}. Mend one of them."
        )
    weights = np.full((batch, batch), 1 / (batch - 1))
    rows = np.arange(batch)
    weights[rows, rows] = 1 / n_train
    weights[rows, (rows + 1) % batch] = (n_train - batch + 1) / (n_train * (batch - 1))
    if batch == n_train:
        weights[:] = 1 / n_train
    return np.log(weights)
