"""Wasserstein GAN with clipped weights.

    W₁(p, q) = sup over 1-Lipschitz D of E_p D(x) − E_q D(x̃)                                                    (1)
    lower over D   E D(x̃) − E D(x),   five updates a step, each weight clipped to [−c, c] after each             (2)
    lower over G   −E D(x̃)                                                                                      (3)
Clipping holds D Lipschitz, with some constant. The first weights are clipped too: no gradient is taken at others.

References:
    [1] Arjovsky, Chintala & Bottou, Wasserstein GAN, 2017, arXiv:1701.07875
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec
from artifex.core.leaves import variables
from artifex.core.training.objective import StepContext, TrainingSpec
from artifex.gan.adversarial import Game, GANConfig, adversarial
from artifex.gan.gan import GAN
from artifex.gan.loss import wasserstein
from artifex.gan.networks import AnyNetworks, ConvNetworks, is_additive, make_critic, make_generator, networks_for


@dataclass(frozen=True, kw_only=True)
class WGANConfig(GANConfig):
    """A Wasserstein GAN with clipped weights."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 320,  # five critic updates of 64
        "ema_decay": 0.995,
        "optimizer": {"name": "rmsprop", "learning_rate": 5e-5, "betas": (0.0, 0.99)},
    }

    shape: tuple[int, ...] = (32, 32, 3)  # of the data, channels last
    range: tuple[float, float] | None = (-1.0, 1.0)  # of the data; None: unbounded, and the output is linear
    z_dim: int = 128
    networks: AnyNetworks = field(default_factory=ConvNetworks)
    clip: float = 0.01  # c of eq. 2
    critic_steps: int = 5  # critic updates a step, each on a part of the batch

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clip <= 0:
            raise ValueError(f"WGANConfig: expected 'clip' > 0, got {self.clip}. The paper uses 0.01.")

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape and range of the data, and networks that suit them."""
        return cls.fitting(spec, networks=networks_for(spec.shape))


class WGAN(GAN):
    """A Wasserstein GAN with clipped weights."""

    def __init__(self, config: WGANConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        bounded = config.range is not None
        self.generator = make_generator(config.networks, config.shape, config.z_dim, bounded=bounded, rngs=rngs)
        self.discriminator = make_critic(config.networks, config.shape, offset=False, rngs=rngs)
        for _, weight in variables(self.discriminator):
            if isinstance(weight, nnx.Param):
                weight.set_value(self.clip(weight[...]))

    def clip(self, weight: Float[Array, "..."]) -> Float[Array, "..."]:
        """A weight within [−c, c] (eq. 2)."""
        return jnp.clip(weight, -self.config.clip, self.config.clip)  # eq. 2

    def game(self, ctx: StepContext) -> Game:
        """Eq. 2 and 3."""
        return Game(wasserstein())  # eq. 2, 3

    def training_spec(self) -> TrainingSpec:
        """Critic updates on parts of the batch, clipped each, then one of the generator."""
        steps, additive = self.config.critic_steps, is_additive(self.config.networks)
        return adversarial(self, critic_steps=steps, project=self.clip, additive=additive)
