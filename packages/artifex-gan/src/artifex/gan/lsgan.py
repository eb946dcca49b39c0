"""Least-squares GAN.

    lower over D   ½ E (D(x) − b)² + ½ E (D(x̃) − a)²                                                            (1)
    lower over G   ½ E (D(x̃) − c)²                                                                              (2)
with (a, b, c) = (0, 1, 1). The best critic is D = (b p + a q) / (p + q) for densities p of data and q of fakes; where
b − c = 1 and b − a = 2, the generator lowers Pearson's χ² of p + q against 2q.

Differs:
    networks are those of DCGAN, at 64 pixels.

References:
    [1] Mao et al., Least Squares Generative Adversarial Networks, 2017, arXiv:1611.04076
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.protocols import Batch
from artifex.core.training.objective import StepContext, TrainingSpec
from artifex.gan.adversarial import (
    Condition,
    Game,
    GANLosses,
    GANOutputs,
    adversarial,
    check_data,
    draw,
    first_step,
    game_losses,
    normal_latent,
    play,
    refuse_condition,
)
from artifex.gan.loss import least_squares
from artifex.gan.networks import AnyNetworks, ConvNetworks, Latent, is_additive, make_critic, make_generator
from artifex.gan.penalty import Data


@dataclass(frozen=True, kw_only=True)
class LSGANConfig(ModelConfig):
    """A least-squares GAN."""

    shape: tuple[int, ...] = (64, 64, 3)  # of the data, channels last
    range: tuple[float, float] | None = (-1.0, 1.0)  # of the data; None: unbounded, and the output is linear
    z_dim: int = 100
    networks: AnyNetworks = field(default_factory=ConvNetworks)
    targets: tuple[float, float, float] = (0.0, 1.0, 1.0)  # (a, b, c): of fakes, of data, and what G aims at


class LSGAN(GenerativeModel):
    """A least-squares GAN."""

    def __init__(self, config: LSGANConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        bounded = config.range is not None
        self.generator = make_generator(config.networks, config.shape, config.z_dim, bounded=bounded, rngs=rngs)
        self.discriminator = make_critic(config.networks, config.shape, rngs=rngs)

    def __call__(self, x: Data, *, rngs: nnx.Rngs | None = None) -> GANOutputs:
        """Fakes, and the logits of data and fakes."""
        return play(self, x, self.rngs_or_own(rngs))

    def loss_fn(self, batch: Batch, outputs: GANOutputs, *, ctx: StepContext | None = None) -> GANLosses:
        """Both sides' losses (eq. 1, 2)."""
        return game_losses(self, batch, outputs, ctx or first_step(self.rngs_or_own(None)))

    def generate(
        self,
        n_samples: int = 1,
        *,
        y: Condition | None = None,
        z: Latent | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Data:
        """Samples G(z)."""
        refuse_condition(self, y)
        return draw(self, n_samples, self.rngs_or_own(rngs), z)

    def latent(self, n: int, rngs: nnx.Rngs) -> Latent:
        """z ~ N(0, I)."""
        return normal_latent(n, self.config.z_dim, rngs)

    def game(self, ctx: StepContext) -> Game:
        """Least squares alone."""
        return Game(least_squares(*self.config.targets))  # eq. 1, 2

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape or range."""
        check_data(self.config, spec)

    def training_spec(self) -> TrainingSpec:
        """Critic and generator in turn."""
        return adversarial(self, additive=is_additive(self.config.networks))
