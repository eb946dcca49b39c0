"""Wasserstein GAN with gradient penalty.

    lower over D   E D(x̃) − E D(x) + λ E (‖∇D(x̂)‖ − 1)²,   x̂ = u x + (1 − u) x̃,  u ~ U(0, 1)                   (1)
    lower over G   −E D(x̃)                                                                                      (2)
The penalty is two-sided, for each example, on straight lines between data and fakes; the norm is over all entries. The
critic makes five updates a step, on separate parts of the batch, and has no batch normalisation: with it, ∇D(x̂) of one
row would depend on the others.

Differs:
    networks are strided convolutions, or perceptrons, not residual ones.

References:
    [1] Gulrajani et al., Improved Training of Wasserstein GANs, 2017, arXiv:1704.00028
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from flax import nnx

from artifex.core.data.spec import DataSpec
from artifex.core.training.objective import StepContext, TrainingSpec
from artifex.gan.adversarial import Game, GANConfig, adversarial
from artifex.gan.gan import GAN
from artifex.gan.loss import wasserstein
from artifex.gan.networks import AnyNetworks, ConvNetworks, is_additive, make_critic, make_generator, networks_for
from artifex.gan.penalty import check_weight, gradient_penalty


@dataclass(frozen=True, kw_only=True)
class WGANGPConfig(GANConfig):
    """A Wasserstein GAN with gradient penalty."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 320,  # five critic updates of 64
        "ema_decay": 0.995,
        "optimizer": {"name": "adam", "learning_rate": 1e-4, "betas": (0.0, 0.9)},
    }

    shape: tuple[int, ...] = (32, 32, 3)  # of the data, channels last
    range: tuple[float, float] | None = (-1.0, 1.0)  # of the data; None: unbounded, and the output is linear
    z_dim: int = 128
    networks: AnyNetworks = field(default_factory=lambda: ConvNetworks(critic_norm="none"))
    weight: float = 10.0  # λ of eq. 1
    critic_steps: int = 5  # critic updates a step, each on a part of the batch

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight("WGANGPConfig", "weight", self.weight)
        if isinstance(self.networks, ConvNetworks) and self.networks.critic_norm == "batch":
            raise ValueError(
                "WGANGPConfig: expected a critic whose rows do not look at each other, got networks.critic_norm "
                "'batch'. Set it to 'none' or 'spectral'."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape and range of the data, and networks that suit them."""
        return cls.fitting(spec, networks=networks_for(spec.shape, critic_norm="none"))


class WGANGP(GAN):
    """A Wasserstein GAN with gradient penalty."""

    def __init__(self, config: WGANGPConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        bounded = config.range is not None
        self.generator = make_generator(config.networks, config.shape, config.z_dim, bounded=bounded, rngs=rngs)
        self.discriminator = make_critic(config.networks, config.shape, offset=False, rngs=rngs)

    def game(self, ctx: StepContext) -> Game:
        """Eq. 1 and 2."""
        return Game(wasserstein(), (gradient_penalty(self.config.weight),))

    def training_spec(self) -> TrainingSpec:
        """Critic updates on parts of the batch, then one of the generator."""
        steps, additive = self.config.critic_steps, is_additive(self.config.networks)
        return adversarial(self, critic_steps=steps, additive=additive)
