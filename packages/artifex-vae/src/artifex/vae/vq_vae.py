"""VQ-VAE: a discrete code for each position.

    z_e(x)   encoder                    [batch, h, w, width]
    z_q      nearest codebook entries   (see `quantise`)
    loss     = −log p(x|z_q) + β_c D ‖z_e − sg(z_q)‖²,   D = h·w·width entries of the code                       (1)
    p(k)     = Π_positions p_i(k_i)     frequencies of each position's codes, gathered in training                (2)
The codebook follows the codes by moving averages [1, appendix A.1]. `generate` draws codes from (2): positions are
independent, so samples are locally right and globally loose; `generate(codes=...)` takes codes from a model of them.

Differs:
    the codebook starts from the first batch by k-means, and dead codes restart (`quantise`); [1] starts at random.
    The data term is a likelihood, so that its weight against the commitment has a unit.

References:
    [1] van den Oord, Vinyals & Kavukcuoglu, Neural Discrete Representation Learning, 2017, arXiv:1711.00937
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self, TypedDict, cast

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.config import ModelConfig
from artifex.core.data.spec import DataSpec, halvings
from artifex.core.model import GenerativeModel
from artifex.core.nn.convolution import Conv, ConvTranspose
from artifex.core.nn.init import he_normal, lecun_normal, zeros
from artifex.core.prob import noise
from artifex.core.protocols import Batch
from artifex.core.training.rows import masked_mean
from artifex.vae.likelihood import AnyLikelihood, GaussianLikelihood
from artifex.vae.networks import check_sides
from artifex.vae.quantise import Codebook, VectorQuantiser
from artifex.vae.vae import check_weights

Data = Float[Array, "batch height width channel"]
Grid = Float[Array, "batch h w feature"]
Codes = Int[Array, "batch h w"]


@dataclass(frozen=True, kw_only=True)
class VQVAEConfig(ModelConfig):
    """A VQ-VAE on pictures."""

    output_dim: tuple[int, int, int] = (28, 28, 1)  # height, width, channels
    channels: tuple[int, ...] = (64, 64)  # of each layer that halves the sides
    n_residual: int = 2  # residual blocks
    n_codes: int = 512
    code_dim: int = 64  # width of a code
    commitment: float = 0.25  # β_c
    decay: float = 0.99  # of the codebook's averages
    likelihood: AnyLikelihood = field(default_factory=lambda: GaussianLikelihood(std=0.5**0.5))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sides(self.output_dim, len(self.channels), "VQVAEConfig")
        check_weights("VQVAEConfig", commitment=self.commitment)
        if self.n_codes < 2 or not 0 <= self.decay < 1:
            raise ValueError(
                f"VQVAEConfig: expected 'n_codes' >= 2 and 0 <= 'decay' < 1, got {self.n_codes} and {self.decay}."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """As many halvings, two at most, as the sides of the data allow."""
        layers = min(len(cls.channels), max(1, halvings(spec.shape)))
        return cls(output_dim=cast(tuple[int, int, int], spec.shape), channels=cls.channels[:layers])

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the codes."""
        factor = 2 ** len(self.channels)
        return self.output_dim[0] // factor, self.output_dim[1] // factor


class VQVAEOutputs(TypedDict):
    """The forward pass."""

    z_e: Grid
    codes: Codes
    commitment: Float[Array, "batch h w"]
    reconstruction: Float[Array, "batch height width channel n"]  # parameters of p(x|z)


class VQVAELosses(TypedDict):
    """Nats per example."""

    loss: Float[Array, ""]
    reconstruction: Float[Array, ""]
    commitment: Float[Array, ""]
    used_codes: Float[Array, ""]  # codes that this batch uses
    weight: Float[Array, ""]


class Residual(nnx.Module):
    """x + W₂ relu(W₁ relu(x)), a 3 × 3 and a 1 × 1 convolution [1]."""

    def __init__(self, width: int, *, rngs: nnx.Rngs) -> None:
        self.wide = Conv(width, width, (3, 3), kernel_init=he_normal(), bias_init=zeros, rngs=rngs)
        self.point = Conv(width, width, (1, 1), kernel_init=he_normal(), bias_init=zeros, rngs=rngs)

    def __call__(self, x: Grid) -> Grid:
        """The block's output."""
        return x + self.point(jax.nn.relu(self.wide(jax.nn.relu(x))))


class VQVAE(GenerativeModel):
    """A VQ-VAE, also an `Autoencoder`."""

    def __init__(self, config: VQVAEConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        depth, wide, n = config.output_dim[-1], config.channels, config.likelihood.width
        half = {"strides": 2, "kernel_init": he_normal(), "bias_init": zeros, "rngs": rngs}
        ins = (depth, *wide[:-1])
        self.down = nnx.List(Conv(i, o, (4, 4), **half) for i, o in zip(ins, wide, strict=True))
        self.inner = nnx.List(Residual(wide[-1], rngs=rngs) for _ in range(config.n_residual))
        point = {"kernel_init": lecun_normal(), "bias_init": zeros, "rngs": rngs}
        self.to_code = Conv(wide[-1], config.code_dim, (1, 1), **point)
        self.quantiser = VectorQuantiser(config.n_codes, config.code_dim, decay=config.decay, rngs=rngs)
        self.from_code = Conv(config.code_dim, wide[-1], (3, 3), **point)
        self.outer = nnx.List(Residual(wide[-1], rngs=rngs) for _ in range(config.n_residual))
        outs = (*reversed(wide[:-1]), depth * n)
        ups = zip(reversed(wide), outs, strict=True)
        self.up = nnx.List(ConvTranspose(i, o, (4, 4), **half) for i, o in ups)
        self.frequencies = Codebook(jnp.ones((*config.grid, config.n_codes)) / config.n_codes)
        self.deterministic = False  # nnx's switch for evaluation: the frequencies stay

    def __call__(
        self, x: Data, *, mask: Float[Array, " batch"] | None = None, rngs: nnx.Rngs | None = None
    ) -> VQVAEOutputs:
        """Codes of x and what they decode to; in training mode codebook and frequencies move.

        Args:
            mask: 0 for rows that do not count.
            rngs: not needed, nothing is drawn.
        """
        z_e = self.encode_continuous(x)
        weight = None if mask is None else jnp.broadcast_to(mask[:, None, None], z_e.shape[:-1])
        found = self.quantiser(z_e, weight=weight)
        if not self.deterministic:
            self.count(found.codes, mask)
        params = self.decode_continuous(found.z)
        return VQVAEOutputs(z_e=z_e, codes=found.codes, commitment=found.commitment, reconstruction=params)

    def loss_fn(self, batch: Batch, outputs: VQVAEOutputs) -> VQVAELosses:
        """−log p(x|z_q) and the commitment, in nats per example (eq. 1)."""
        nll = -self.config.likelihood.log_prob(outputs["reconstruction"], batch["x"])
        commitment = outputs["commitment"].sum((1, 2)) * self.config.code_dim
        loss, weight = masked_mean(nll + self.config.commitment * commitment, batch)
        used = jnp.zeros(self.config.n_codes).at[outputs["codes"].reshape(-1)].set(1).sum()
        return VQVAELosses(
            loss=loss,
            reconstruction=masked_mean(nll, batch)[0],
            commitment=masked_mean(commitment, batch)[0],
            used_codes=used,
            weight=weight,
        )

    def generate(
        self, n_samples: int = 1, *, codes: Codes | None = None, mean: bool = False, rngs: nnx.Rngs | None = None
    ) -> Data:
        """Draws from p(x|z_q) at the given codes, or at codes drawn position by position (eq. 2)."""
        rngs = self.rngs_or_own(rngs)
        if codes is None:
            logits = jnp.log(self.frequencies[...])
            codes = noise.categorical(rngs, jnp.broadcast_to(logits, (n_samples, *logits.shape)))
        params = self.decode_continuous(self.quantiser.lookup(codes))
        return self.config.likelihood.mean(params) if mean else self.config.likelihood.sample(params, rngs)

    def encode_continuous(self, x: Data) -> Grid:
        """z_e(x)."""
        for layer in self.down:
            x = jax.nn.relu(layer(x))
        for block in self.inner:
            x = block(x)
        return self.to_code(jax.nn.relu(x))

    def decode_continuous(self, z: Grid) -> Float[Array, "batch height width channel n"]:
        """Parameters of p(x|z)."""
        x = self.from_code(z)
        for block in self.outer:
            x = block(x)
        for layer in self.up:
            x = layer(jax.nn.relu(x))
        return x.reshape(len(x), *self.config.output_dim, self.config.likelihood.width)

    def count(self, codes: Codes, mask: Float[Array, " batch"] | None) -> None:
        """Move the frequencies of each position towards this batch (eq. 2)."""
        seen = jax.nn.one_hot(codes, self.config.n_codes, dtype=self.frequencies[...].dtype)
        weight = jnp.ones(len(codes)) if mask is None else mask
        batch = (weight[:, None, None, None] * seen).sum(0) / jnp.maximum(weight.sum(), 1)
        self.frequencies[...] = self.config.decay * self.frequencies[...] + (1 - self.config.decay) * batch

    def encode(self, x: Data) -> Codes:
        """The code of each position."""
        z_e = self.encode_continuous(x)
        return self.quantiser.lookup_codes(z_e)

    def decode(self, z: Codes) -> Data:
        """The mean of p(x|z_q)."""
        return self.config.likelihood.mean(self.decode_continuous(self.quantiser.lookup(z)))

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, or that the likelihood does not cover."""
        if spec.shape != self.config.output_dim:
            raise ValueError(
                f"VQVAEConfig: expected data of shape {self.config.output_dim}, got {spec.shape}. "
                f"Set model.output_dim to {list(spec.shape)}."
            )
        self.config.likelihood.check(spec)
