"""Conditional GAN: the class is joined to what both sides see.

    x̃ = G(z, e_y),   D(x, e_y) the logit of "real, and of class y"                                              (1)
    lower over D   −log σ(D(x, y)) − log σ(−D(x̃, y)),    lower over G   −log σ(D(x̃, y))                         (2)
e_y is one-hot: joined to z in G; in D joined to the numbers of a perceptron, or to each pixel of a picture.

Differs:
    [1] maps z and y by a layer each before it joins them; the networks are DCGAN's.

References:
    [1] Mirza & Osindero, Conditional Generative Adversarial Nets, 2014, arXiv:1411.1784
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.config import ModelConfig
from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.protocols import Batch
from artifex.core.training.objective import StepContext, TrainingSpec
from artifex.gan.adversarial import (
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
)
from artifex.gan.condition import Labels, check_classes, one_each, one_hot
from artifex.gan.loss import LOSSES, LossName
from artifex.gan.networks import AnyNetworks, ConvNetworks, Latent, MLPCritic, is_additive, make_critic, make_generator
from artifex.gan.penalty import Data


@dataclass(frozen=True, kw_only=True)
class CGANConfig(ModelConfig):
    """A conditional GAN."""

    shape: tuple[int, ...] = (64, 64, 3)  # of the data, channels last
    range: tuple[float, float] | None = (-1.0, 1.0)  # of the data; None: unbounded, and the output is linear
    z_dim: int = 100
    networks: AnyNetworks = field(default_factory=ConvNetworks)
    n_classes: int = 10  # y holds 0 … n_classes − 1
    loss: LossName = "nonsaturating"


class Joined(nnx.Module):
    """A network that sees the class beside its input, at each place of it."""

    def __init__(self, network: Any, n_classes: int) -> None:
        self.network, self.n_classes = network, n_classes
        self.flat = isinstance(network, MLPCritic)

    def __call__(self, x: Float[Array, "batch *event"], y: Labels) -> Float[Array, "batch *other"]:
        """The network's output for x and e_y (eq. 1)."""
        x = x.reshape(len(x), -1) if self.flat else x
        e = one_hot(y, self.n_classes).astype(x.dtype).reshape(len(x), *[1] * (x.ndim - 2), self.n_classes)
        return self.network(jnp.concatenate([x, jnp.broadcast_to(e, (*x.shape[:-1], self.n_classes))], -1))


class CGAN(GenerativeModel):
    """A conditional GAN."""

    conditions: ClassVar[tuple[str, ...]] = ("y",)

    def __init__(self, config: CGANConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        bounded = config.range is not None
        inputs = config.z_dim + config.n_classes
        generator = make_generator(config.networks, config.shape, inputs, bounded=bounded, rngs=rngs)
        critic = make_critic(config.networks, config.shape, config.n_classes, rngs=rngs)
        self.generator = Joined(generator, config.n_classes)
        self.discriminator = Joined(critic, config.n_classes)

    def __call__(self, x: Data, *, y: Labels, rngs: nnx.Rngs | None = None) -> GANOutputs:
        """Fakes, and the logits of data and fakes."""
        return play(self, x, self.rngs_or_own(rngs), y=y)

    def loss_fn(self, batch: Batch, outputs: GANOutputs, *, ctx: StepContext | None = None) -> GANLosses:
        """Both sides' losses (eq. 1, 2)."""
        return game_losses(self, batch, outputs, ctx or first_step(self.rngs_or_own(None)))

    def generate(
        self,
        n_samples: int = 1,
        *,
        y: Labels | None = None,
        z: Latent | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Data:
        """Samples G(z, y), for one class or one a row."""
        y = one_each("CGAN.generate", y, n_samples, self.config.n_classes)
        return draw(self, n_samples, self.rngs_or_own(rngs), z, y=y)

    def latent(self, n: int, rngs: nnx.Rngs) -> Latent:
        """z ~ N(0, I)."""
        return normal_latent(n, self.config.z_dim, rngs)

    def game(self, ctx: StepContext) -> Game:
        """The loss alone."""
        return Game(LOSSES[self.config.loss]())  # eq. 2

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, range or number of classes."""
        check_data(self.config, spec)
        check_classes("CGAN", self.config.n_classes, spec)

    def training_spec(self) -> TrainingSpec:
        """Critic and generator in turn."""
        return adversarial(self, additive=is_additive(self.config.networks))
