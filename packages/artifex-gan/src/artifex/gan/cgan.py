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
from typing import Any, ClassVar, Self

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec
from artifex.core.training.objective import StepContext
from artifex.gan.adversarial import Game, GANConfig
from artifex.gan.condition import Labels, one_hot
from artifex.gan.gan import ClassGAN
from artifex.gan.loss import LOSSES, LossName
from artifex.gan.networks import AnyNetworks, ConvNetworks, MLPCritic, make_critic, make_generator, networks_for


@dataclass(frozen=True, kw_only=True)
class CGANConfig(GANConfig):
    """A conditional GAN."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 64,
        "ema_decay": 0.995,
        "optimizer": {"name": "adam", "learning_rate": 2e-4, "betas": (0.5, 0.999)},
    }

    shape: tuple[int, ...] = (64, 64, 3)  # of the data, channels last
    range: tuple[float, float] | None = (-1.0, 1.0)  # of the data; None: unbounded, and the output is linear
    z_dim: int = 100
    networks: AnyNetworks = field(default_factory=ConvNetworks)
    n_classes: int = 10  # y holds 0 … n_classes − 1
    loss: LossName = "nonsaturating"

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape, range and classes of the data, and networks that suit them."""
        return cls.fitting(spec, networks=networks_for(spec.shape), n_classes=spec.n_classes or cls.n_classes)


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


class CGAN(ClassGAN):
    """A conditional GAN."""

    def __init__(self, config: CGANConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        bounded = config.range is not None
        inputs = config.z_dim + config.n_classes
        generator = make_generator(config.networks, config.shape, inputs, bounded=bounded, rngs=rngs)
        critic = make_critic(config.networks, config.shape, config.n_classes, rngs=rngs)
        self.generator = Joined(generator, config.n_classes)
        self.discriminator = Joined(critic, config.n_classes)

    def game(self, ctx: StepContext) -> Game:
        """The loss alone."""
        return Game(LOSSES[self.config.loss]())  # eq. 2
