"""Priors p(z).

    standard_normal   N(0, I)                                                                                    (1)
    mixture           Σ_k π_k N(z; m_k, s_k² I), all learned                                                     (2)
    conditional       N(z; μ(c), σ(c)² I), c the condition [1]                                                   (3)
where KL(q ‖ p) has no closed form, (2), it is estimated by log q(z|x) − log p(z) at the z that was drawn.

References:
    [1] Sohn, Lee & Yan, Learning Structured Output Representation using Deep Conditional Generative Models, 2015
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.config import Config
from artifex.core.nn.init import normal, zeros
from artifex.core.nn.mlp import MLP
from artifex.core.prob import gaussian, noise
from artifex.core.prob.gaussian import Gaussian

Codes = Float[Array, "batch latent"]


@dataclass(frozen=True, kw_only=True)
class StandardNormalConfig(Config):
    """N(0, I) (eq. 1)."""


@dataclass(frozen=True, kw_only=True)
class MixtureConfig(Config):
    """A mixture of Gaussians (eq. 2)."""

    n_components: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_components < 1:
            raise ValueError(f"MixtureConfig: expected 'n_components' >= 1, got {self.n_components}.")


AnyPrior = StandardNormalConfig | MixtureConfig


class StandardNormal(nnx.Module):
    """N(0, I) (eq. 1)."""

    def __init__(self, latent_dim: int) -> None:
        self.latent_dim = latent_dim

    def log_prob(self, z: Codes) -> Float[Array, " batch"]:
        """log p(z) in nats."""
        return gaussian.log_prob(Gaussian(jnp.zeros_like(z), jnp.zeros_like(z)), z)

    def kl_entries(self, q: Gaussian, z: Codes) -> Codes:
        """KL(q ‖ p) in nats, one value per latent dimension."""
        return gaussian.kl_entries(q, gaussian.standard_like(q))

    def sample(self, n_samples: int, rngs: nnx.Rngs) -> Codes:
        """Draws."""
        return noise.normal(rngs, (n_samples, self.latent_dim))


class Mixture(nnx.Module):
    """A learned mixture (eq. 2)."""

    def __init__(self, config: MixtureConfig, latent_dim: int, *, rngs: nnx.Rngs) -> None:
        k = config.n_components
        self.logits = nnx.Param(zeros(rngs.params(), (k,)))
        self.mean = nnx.Param(normal(1.0)(rngs.params(), (k, latent_dim)))
        self.log_std = nnx.Param(zeros(rngs.params(), (k, latent_dim)))

    def log_prob(self, z: Codes) -> Float[Array, " batch"]:
        """log p(z) in nats (eq. 2)."""

        def component(mean: Float[Array, " latent"], log_std: Float[Array, " latent"]) -> Float[Array, " batch"]:
            return gaussian.log_prob(Gaussian(mean[None], log_std[None]), z)

        terms = jax.vmap(component)(self.mean[...], self.log_std[...])
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits[...])[:, None] + terms, axis=0)

    def kl_entries(self, q: Gaussian, z: Codes) -> Float[Array, "batch 1"]:
        """log q(z|x) − log p(z) at the drawn z: an estimate of KL(q ‖ p) that is right in the mean."""
        return (gaussian.log_prob(q, z) - self.log_prob(z))[:, None]

    def sample(self, n_samples: int, rngs: nnx.Rngs) -> Codes:
        """Draws: a component, then its Gaussian."""
        chosen = noise.categorical(rngs, jnp.broadcast_to(self.logits[...], (n_samples, len(self.logits[...]))))
        return gaussian.sample(Gaussian(self.mean[...][chosen], self.log_std[...][chosen]), rngs)


class ConditionalPrior(nnx.Module):
    """A Gaussian whose mean and deviation follow the condition (eq. 3)."""

    def __init__(self, condition_dim: int, hidden_dims: tuple[int, ...], latent_dim: int, *, rngs: nnx.Rngs) -> None:
        self.mlp = MLP((condition_dim, *hidden_dims, 2 * latent_dim), activation="tanh", rngs=rngs)

    def __call__(self, c: Float[Array, "batch condition"]) -> Gaussian:
        """p(z|y) for each row."""
        return Gaussian(*jnp.split(self.mlp(c), 2, axis=-1))


def make_prior(config: AnyPrior, latent_dim: int, *, rngs: nnx.Rngs) -> Any:
    """The prior of codes of `latent_dim` numbers."""
    if isinstance(config, MixtureConfig):
        return Mixture(config, latent_dim, rngs=rngs)
    return StandardNormal(latent_dim)
