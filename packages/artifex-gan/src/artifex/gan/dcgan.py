"""Deep convolutional GAN.

    z ~ N(0, I),  x̃ = G(z),   D(x) the logit of "real"
    lower over D   −log σ(D(x)) − log σ(−D(x̃))                                                                  (1)
    lower over G   −log σ(D(x̃))                                                                                 (2)
G doubles the sides of a 4 × 4 map with transposed convolutions, D halves them with strided ones; batch normalisation
everywhere except in G's last layer and D's first; rectifiers in G, leaky ones (0.2) in D; weights from N(0, 0.02²).

Differs:
    z is normal, not uniform in [−1, 1].

References:
    [1] Radford, Metz & Chintala, Unsupervised Representation Learning with Deep Convolutional GANs, 2016,
        arXiv:1511.06434
    [2] Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661
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
from artifex.gan.loss import LOSSES, LossName
from artifex.gan.networks import AnyNetworks, ConvNetworks, Latent, is_additive, make_critic, make_generator
from artifex.gan.penalty import Data


@dataclass(frozen=True, kw_only=True)
class DCGANConfig(ModelConfig):
    """A DCGAN."""

    shape: tuple[int, ...] = (64, 64, 3)  # of the data, channels last
    range: tuple[float, float] | None = (-1.0, 1.0)  # of the data; None: unbounded, and the output is linear
    z_dim: int = 100
    networks: AnyNetworks = field(default_factory=ConvNetworks)
    loss: LossName = "nonsaturating"


class DCGAN(GenerativeModel):
    """A deep convolutional GAN."""

    def __init__(self, config: DCGANConfig, *, rngs: nnx.Rngs) -> None:
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
        """The loss alone."""
        return Game(LOSSES[self.config.loss]())  # eq. 1, 2

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape or range."""
        check_data(self.config, spec)

    def training_spec(self) -> TrainingSpec:
        """Critic and generator in turn."""
        return adversarial(self, additive=is_additive(self.config.networks))
