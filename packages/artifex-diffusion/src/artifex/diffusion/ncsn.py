"""Noise-conditional score networks.

    σ_1 > … > σ_L                     levels in equal factors, from 1 to 0.01                                    (1)
    L = 1/L Σ_i σ_i² E ‖s_θ(x + σ_i z, σ_i) + z/σ_i‖²                                                            (2)
    x ← x + (a_i/2) s_θ(x, σ_i) + √a_i z,   a_i = step · σ_i²/σ_L²,   many times a level, from σ_1 to σ_L          (3)

Differs: sampling starts from N(0, σ_1² I), where the paper starts from uniform noise; the network predicts ε = −σ s,
so that (2) is the plain error of ε, and its input is divided by √(1 + σ²).

References:
    [1] Song & Ermon, Generative Modeling by Estimating Gradients of the Data Distribution, 2019, arXiv:1907.05600
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax.numpy as jnp
from flax import nnx

from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.prob import noise
from artifex.core.protocols import Batch
from artifex.diffusion.grid import Exponential
from artifex.diffusion.networks import AnyNetwork, DenoisingConfig, make_network, with_dropout
from artifex.diffusion.prediction import Data, Denoiser, Scales
from artifex.diffusion.process import Level, Schedule
from artifex.diffusion.sampling import DataRange, check_data, draw, inward, outward
from artifex.diffusion.schedule import VE
from artifex.diffusion.stochastic import AnnealedLangevin
from artifex.diffusion.unet import UNetConfig
from artifex.diffusion.weighting import DenoisingLosses, DenoisingOutputs, PerRow, PlainWeight, corrupt, weighted_loss


@dataclass(frozen=True, kw_only=True)
class NCSNConfig(DenoisingConfig):
    """A score network on a few levels of noise."""

    network: AnyNetwork = field(default_factory=UNetConfig)
    schedule: VE = field(default_factory=lambda: VE(sigma_min=0.01, sigma_max=1.0))
    n_levels: int = 10  # L
    step: float = 2e-5  # of Langevin dynamics at the last level
    repeats: int = 100  # Langevin steps at each level
    denoise_last: bool = False  # end with the denoiser, as later work does
    data_range: DataRange = (-1.0, 1.0)  # of the data; None leaves them as they are

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_levels < 2 or self.repeats < 1 or self.step <= 0:
            raise ValueError(
                "NCSNConfig: expected 'n_levels' >= 2, 'repeats' >= 1 and 'step' > 0, got "
                f"{self.n_levels}, {self.repeats} and {self.step}. The published values are the defaults."
            )
        if self.network.n_classes is not None:
            raise ValueError(
                f"NCSNConfig: expected a network without classes, got n_classes = {self.network.n_classes}. "
                "Use score_sde for labels."
            )


def unit_input(t: Level, schedule: Schedule) -> Scales:
    """The network's input at unit variance, for data of unit variance."""
    one = jnp.ones_like(t)
    into = 1 / jnp.sqrt(1 + schedule.sigma(t) ** 2)
    return Scales(jnp.zeros_like(t), one, into, schedule.condition(t))


class NCSN(GenerativeModel):
    """A score network on a few levels of noise."""

    def __init__(self, config: NCSNConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.network = make_network(config.network, rngs=rngs)
        self.deterministic = False  # nnx's switch: True drops nothing

    def denoiser(self, dropout: nnx.Rngs | None = None) -> Denoiser:
        """x₀ from x_t."""
        return Denoiser(with_dropout(self.network, dropout), self.config.schedule, "eps", unit_input)

    def level_times(self, rngs: nnx.Rngs, n: int, schedule: Schedule) -> PerRow:
        """Times of n levels drawn with equal chances (eq. 1)."""
        last = self.config.n_levels - 1
        return jnp.floor(noise.uniform(rngs, (n,)) * (last + 1)) / last

    def __call__(self, x: Data, *, rngs: nnx.Rngs | None = None) -> DenoisingOutputs:
        """Noisy data at random levels, and the network's prediction."""
        rngs = self.rngs_or_own(rngs)
        denoiser = self.denoiser(None if self.deterministic else rngs)
        return corrupt(denoiser, inward(x, self.config.data_range), self.level_times, rngs)

    def loss_fn(self, batch: Batch, outputs: DenoisingOutputs) -> DenoisingLosses:
        """The mean over levels of the error of ε (eq. 2)."""
        return weighted_loss(self.denoiser(), outputs, PlainWeight(of="eps"), batch)

    def generate(self, n_samples: int = 1, *, xt: Data | None = None, rngs: nnx.Rngs | None = None) -> Data:
        """Samples by annealed Langevin dynamics (eq. 3)."""
        rngs, config = self.rngs_or_own(rngs), self.config
        grid = Exponential()(config.schedule, config.n_levels)
        solver = AnnealedLangevin(size=config.step, repeats=config.repeats, denoise_last=config.denoise_last)
        x = draw(self.denoiser(), grid, solver, (n_samples, *config.network.shape), xt=xt, rngs=rngs)
        return outward(x, config.data_range)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape or range."""
        check_data(self.config, spec)
