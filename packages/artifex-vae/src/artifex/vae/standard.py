"""What the variants with the prior N(0, I) share: all but their losses.

    q(z|x) = N(μ(x), diag σ(x)²),   p(z) = N(0, I),   log w = log p(x|z) + log p(z) − log q(z|x)                 (1)

Reference:
    Kingma & Welling, Auto-Encoding Variational Bayes, 2014, arXiv:1312.6114, section 2.3
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.prob import gaussian, noise
from artifex.vae.bound import bound_scores
from artifex.vae.networks import Coder
from artifex.vae.vae import Codes, Data, check_data


class StandardVAE(GenerativeModel):
    """Encoder and decoder, also an `Autoencoder`; its config has `encoder`, `decoder`, `likelihood`, `latent_dim`."""

    def __init__(self, config: Any, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.coder = Coder((config.encoder, config.decoder, config.likelihood), config.latent_dim, rngs=rngs)

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
        """log w at one draw of z, in nats (eq. 1)."""
        q = self.coder.posterior(x)
        z = gaussian.sample(q, rngs)
        log_pz = gaussian.log_prob(gaussian.standard_like(q), z)
        return self.coder.log_prob(x, z) + log_pz - gaussian.log_prob(q, z)

    def scores(self, x: Data, *, rngs: nnx.Rngs) -> Mapping[str, Float[Array, " batch"]]:
        """ELBO, with all weights 1, and IWAE-50 of each row, in nats."""
        return bound_scores(self, x, rngs=rngs)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, or that the likelihood does not cover."""
        check_data(self.config, spec)
