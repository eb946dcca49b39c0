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
from typing import Any, ClassVar, Self

from flax import nnx

from artifex.core.data.spec import DataSpec
from artifex.core.training.objective import StepContext
from artifex.gan.adversarial import Game, GANConfig
from artifex.gan.gan import GAN
from artifex.gan.loss import least_squares
from artifex.gan.networks import AnyNetworks, ConvNetworks, make_critic, make_generator, networks_for


@dataclass(frozen=True, kw_only=True)
class LSGANConfig(GANConfig):
    """A least-squares GAN."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 64,
        "ema_decay": 0.995,
        "optimizer": {"name": "adam", "learning_rate": 2e-4, "betas": (0.5, 0.999)},
    }

    shape: tuple[int, ...] = (64, 64, 3)  # of the data, channels last
    range: tuple[float, float] | None = (-1.0, 1.0)  # of the data; None: unbounded, and the output is linear
    z_dim: int = 100
    networks: AnyNetworks = field(default_factory=ConvNetworks)
    targets: tuple[float, float, float] = (0.0, 1.0, 1.0)  # (a, b, c): of fakes, of data, and what G aims at

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape and range of the data, and networks that suit them."""
        return cls.fitting(spec, networks=networks_for(spec.shape))


class LSGAN(GAN):
    """A least-squares GAN."""

    def __init__(self, config: LSGANConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        bounded = config.range is not None
        self.generator = make_generator(config.networks, config.shape, config.z_dim, bounded=bounded, rngs=rngs)
        self.discriminator = make_critic(config.networks, config.shape, rngs=rngs)

    def game(self, ctx: StepContext) -> Game:
        """Least squares alone."""
        return Game(least_squares(*self.config.targets))  # eq. 1, 2
