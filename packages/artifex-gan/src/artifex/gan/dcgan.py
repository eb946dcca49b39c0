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
from typing import Any, ClassVar, Self

from flax import nnx

from artifex.core.data.spec import DataSpec
from artifex.core.training.objective import StepContext
from artifex.gan.adversarial import Game, GANConfig
from artifex.gan.gan import GAN
from artifex.gan.loss import LOSSES, LossName
from artifex.gan.networks import AnyNetworks, ConvNetworks, make_critic, make_generator, networks_for


@dataclass(frozen=True, kw_only=True)
class DCGANConfig(GANConfig):
    """A DCGAN."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 128,
        "ema_decay": 0.995,
        "optimizer": {"name": "adam", "learning_rate": 2e-4, "betas": (0.5, 0.999)},
    }

    shape: tuple[int, ...] = (64, 64, 3)  # of the data, channels last
    range: tuple[float, float] | None = (-1.0, 1.0)  # of the data; None: unbounded, and the output is linear
    z_dim: int = 100
    networks: AnyNetworks = field(default_factory=ConvNetworks)
    loss: LossName = "nonsaturating"

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape and range of the data, and networks that suit them."""
        return cls.fitting(spec, networks=networks_for(spec.shape))


class DCGAN(GAN):
    """A deep convolutional GAN."""

    def __init__(self, config: DCGANConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        bounded = config.range is not None
        self.generator = make_generator(config.networks, config.shape, config.z_dim, bounded=bounded, rngs=rngs)
        self.discriminator = make_critic(config.networks, config.shape, rngs=rngs)

    def game(self, ctx: StepContext) -> Game:
        """The loss alone."""
        return Game(LOSSES[self.config.loss]())  # eq. 1, 2
