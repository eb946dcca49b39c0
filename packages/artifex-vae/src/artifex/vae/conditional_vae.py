"""Conditional variational autoencoder.

    y                              condition: a class, or a vector              [batch] or [batch, width]
    c                              its embedding                               [batch, embed]
    q(z|x, y), p(x|z, y), p(z|y)   encoder, decoder and prior all see c
    log p(x|y) ≥ E_q[log p(x|z, y)] − β KL(q(z|x, y) ‖ p(z|y))                                                   (1)
With `drop_condition` > 0, y is left out of that share of the training rows, a learned embedding stands for it, and the
model can also sample without y.

References:
    [1] Sohn, Lee & Yan, Learning Structured Output Representation using Deep Conditional Generative Models, 2015
    [2] Kingma et al., Semi-Supervised Learning with Deep Generative Models, 2014, arXiv:1406.5298
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self, TypedDict

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Num

from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.nn.init import lecun_normal, normal, zeros
from artifex.core.prob import gaussian, noise
from artifex.core.prob.gaussian import Gaussian
from artifex.core.protocols import Batch
from artifex.core.training.rows import masked_mean
from artifex.vae.bound import bound_scores
from artifex.vae.likelihood import AnyLikelihood, Bernoulli
from artifex.vae.networks import AnyDecoder, AnyEncoder, Coder, DecoderConfig, EncoderConfig
from artifex.vae.prior import ConditionalPrior
from artifex.vae.vae import CoderConfig, Codes, Data, VAELosses, active_units, check_data, check_sizes, check_weights

Condition = Num[Array, "batch ..."]


@dataclass(frozen=True, kw_only=True)
class ConditionalVAEConfig(CoderConfig):
    """A conditional VAE on classes, or on vectors."""

    encoder: AnyEncoder = field(default_factory=EncoderConfig)
    decoder: AnyDecoder = field(default_factory=DecoderConfig)
    latent_dim: int = 32
    n_classes: int | None = 10  # y holds 0 … n_classes − 1; None for vectors
    condition_width: int | None = None  # numbers in y, where it is a vector
    embed_dim: int = 32  # width of c
    prior_hidden_dims: tuple[int, ...] = (64,)  # of p(z|y)
    beta: float = 1.0  # weight of the KL term
    drop_condition: float = 0.0  # share of training rows that go without y
    likelihood: AnyLikelihood = field(default_factory=Bernoulli)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("ConditionalVAEConfig", self.encoder, self.latent_dim)
        check_weights("ConditionalVAEConfig", beta=self.beta, drop_condition=self.drop_condition)
        if (self.n_classes is None) == (self.condition_width is None) or self.drop_condition >= 1:
            raise ValueError(
                "ConditionalVAEConfig: expected one of 'n_classes' and 'condition_width', and 'drop_condition' < 1, "
                f"got {self.n_classes}, {self.condition_width} and {self.drop_condition}. Set the other one to null."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape, likelihood and condition are those of the data."""
        if spec.n_classes is None and spec.condition_shape is not None:
            return cls.fitting(spec, n_classes=None, condition_width=math.prod(spec.condition_shape))
        return cls.fitting(spec, n_classes=spec.n_classes or cls.n_classes)


class ConditionalVAEOutputs(TypedDict):
    """The forward pass."""

    posterior: Gaussian
    prior: Gaussian
    z: Codes
    reconstruction: Float[Array, "batch *event n"]  # parameters of p(x|z, y)


class ConditionEmbedding(nnx.Module):
    """The embedding of a class or a vector, and of a missing one."""

    def __init__(self, config: ConditionalVAEConfig, *, rngs: nnx.Rngs) -> None:
        self.n_classes = config.n_classes
        width = sum(size or 0 for size in (config.n_classes, config.condition_width))  # one of them is None
        self.kernel = nnx.Param(lecun_normal()(rngs.params(), (width, config.embed_dim)))
        self.bias = nnx.Param(zeros(rngs.params(), (config.embed_dim,)))
        if config.drop_condition > 0:
            self.missing = nnx.Param(normal(1.0)(rngs.params(), (config.embed_dim,)))

    def __call__(self, y: Condition) -> Float[Array, "batch embed"]:
        """c of each row; a class out of range gives NaN, which the loss refuses, instead of another class's."""
        kernel = self.kernel[...]
        if self.n_classes is None:
            return y.astype(kernel.dtype) @ kernel + self.bias[...]
        valid = (y >= 0) & (y < self.n_classes)
        return jnp.where(valid[:, None], kernel[jnp.clip(y, 0, self.n_classes - 1)] + self.bias[...], jnp.nan)


class ConditionalVAE(GenerativeModel):
    """A conditional VAE."""

    conditions: ClassVar[tuple[str, ...]] = ("y",)

    def __init__(self, config: ConditionalVAEConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.embed = ConditionEmbedding(config, rngs=rngs)
        parts = (config.encoder, config.decoder, config.likelihood)
        self.coder = Coder(parts, config.latent_dim, config.embed_dim, rngs=rngs)
        self.prior = ConditionalPrior(config.embed_dim, config.prior_hidden_dims, config.latent_dim, rngs=rngs)
        self.deterministic = False  # nnx's switch: True leaves no condition out

    def __call__(self, x: Data, *, y: Condition, rngs: nnx.Rngs | None = None) -> ConditionalVAEOutputs:
        """Posterior and prior given y, a draw from the posterior, and what it decodes to."""
        rngs = self.rngs_or_own(rngs)
        c = self.embed(y)
        if self.config.drop_condition > 0 and not self.deterministic:
            left_out = noise.uniform(rngs, (len(x),)) < self.config.drop_condition
            c = jnp.where(left_out[:, None], self.embed.missing[...], c)
        q = self.coder.posterior(x, c)
        z = gaussian.sample(q, rngs)
        return ConditionalVAEOutputs(posterior=q, prior=self.prior(c), z=z, reconstruction=self.coder.decoder(z, c))

    def loss_fn(self, batch: Batch, outputs: ConditionalVAEOutputs) -> VAELosses:
        """−ELBO of log p(x|y) in nats (eq. 1)."""
        nll = -self.config.likelihood.log_prob(outputs["reconstruction"], batch["x"])
        kl = gaussian.kl(outputs["posterior"], outputs["prior"])
        loss, weight = masked_mean(nll + self.config.beta * kl, batch)
        return VAELosses(
            loss=loss,
            reconstruction=masked_mean(nll, batch)[0],
            kl=masked_mean(kl, batch)[0],
            active_units=active_units(outputs["posterior"].mean),
            weight=weight,
        )

    def generate(
        self,
        n_samples: int = 1,
        *,
        y: Condition | None = None,
        temperature: float | Float[Array, ""] = 1.0,
        mean: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> Data:
        """Draws from p(x|z, y) with z ~ p(z|y), whose deviation is scaled by `temperature`.

        Raises:
            ValueError: no y, and the model was not trained to go without.
        """
        rngs = self.rngs_or_own(rngs)
        c = self.embed_or_missing(y, n_samples)
        prior = self.prior(c)
        z = gaussian.sample(Gaussian(prior.mean, prior.log_std + jnp.log(temperature)), rngs)
        return self.coder.draw(z, rngs, c, mean=mean)

    def embed_or_missing(self, y: Condition | None, n: int) -> Float[Array, "batch embed"]:
        """c of n rows; y may be one for all."""
        if y is not None:
            y = jnp.asarray(y)
            return self.embed(jnp.broadcast_to(y, (n,)) if y.ndim == 0 else y)
        if self.config.drop_condition == 0:
            raise ValueError(
                "ConditionalVAE.generate: expected a condition y, got none. Pass y, or train with drop_condition > 0."
            )
        return jnp.broadcast_to(self.embed.missing[...], (n, self.config.embed_dim))

    def log_weight(self, x: Data, *, y: Condition, rngs: nnx.Rngs) -> Float[Array, " batch"]:
        """log p(x, z|y) − log q(z|x, y) at one draw of z, in nats."""
        c = self.embed(y)
        q = self.coder.posterior(x, c)
        z = gaussian.sample(q, rngs)
        return self.coder.log_prob(x, z, c) + gaussian.log_prob(self.prior(c), z) - gaussian.log_prob(q, z)

    def scores(self, x: Data, *, y: Condition, rngs: nnx.Rngs) -> Mapping[str, Float[Array, " batch"]]:
        """ELBO and IWAE-50 of log p(x|y) of each row, in nats."""
        return bound_scores(self, x, rngs=rngs, y=y)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, without conditions, or with others."""
        check_data(self.config, spec)
        expected = self.config.n_classes if self.config.n_classes is not None else (self.config.condition_width,)
        got = spec.n_classes if self.config.n_classes is not None else spec.condition_shape
        if got != expected:
            raise ValueError(
                f"ConditionalVAE: expected conditions y of {expected} (classes, or shape), got {got}. "
                "Set model.n_classes or model.condition_width to those of the data."
            )
