"""pix2pix: a picture from another one, learned from pairs.

    y source, x target, z dropout noise,   x̃ = G(y, z)
    lower over D   −½ log σ(D(x, y)) − ½ log σ(−D(x̃, y))                                                        (1)
    lower over G   −log σ(D(x̃, y)) + λ ‖x − x̃‖₁,    λ = 100, mean over pixels                                   (2)
    U-Net   h_i = down_i(h_{i−1}),   up from the smallest map, each time joined to the h_i of its size            (3)
D looks at patches of 70 × 70 pixels of source and target together. Dropout (½, in the three innermost layers of the way
up) stays on when sampling: it is the only noise. z holds a random key for each row.

Differs:
    instance normalisation for batch normalisation by the batch's own statistics, also at test time: the same for the
    paper's batches of 1, and a sample does not depend on its neighbours.

References:
    [1] Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017, arXiv:1611.07004
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, UInt32

from artifex.core.data.spec import DataSpec, halvings
from artifex.core.model import GenerativeModel
from artifex.core.nn.convolution import ConvTranspose
from artifex.core.nn.init import zeros
from artifex.core.prob.noise import row_keys
from artifex.core.protocols import Batch
from artifex.core.training.objective import StepContext, TrainingSpec
from artifex.gan.adversarial import (
    Game,
    GANConfig,
    GANLosses,
    GANOutputs,
    adversarial,
    check_data,
    draw,
    first_step,
    game_losses,
    play,
    to_unit,
)
from artifex.gan.loss import AdversarialLoss, nonsaturating
from artifex.gan.networks import LEAK, Pictures, dcgan_normal
from artifex.gan.patchgan import PatchCritic
from artifex.gan.penalty import check_weight
from artifex.gan.translators import (
    check_sides,
    check_sources,
    conv,
    instance_norm,
    l1,
    one_source_each,
    patch_layers,
    source_channels,
)

Keys = UInt32[Array, "batch word"]
DROPPED = 3  # layers of the way up with dropout


@dataclass(frozen=True, kw_only=True)
class Pix2PixConfig(GANConfig):
    """A pix2pix."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 1,
        "optimizer": {"name": "adam", "learning_rate": 2e-4, "betas": (0.5, 0.999)},
    }

    shape: tuple[int, int, int] = (128, 128, 3)  # of the targets
    source_channels: int = 3
    range: tuple[float, float] = (-1.0, 1.0)  # of the pixels of both
    width: int = 64  # channels next to the picture; doubled with each halving, up to eight times
    depth: int = 7  # halvings of the U-Net; 8 is the paper's for 256 pixels
    patch_layers: int = 3  # of the critic that halve the sides: 3 sees patches of 70 × 70
    l1_weight: float = 100.0  # λ of eq. 2
    dropout: float = 0.5  # share of features that the noise puts to 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sides("Pix2PixConfig", self.shape, 2**self.depth)
        check_weight("Pix2PixConfig", "l1_weight", self.l1_weight)

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shapes and range of the data; 16 channels, and a U-Net as deep as the sides allow."""
        depth = max(1, min(cls.depth, halvings(spec.shape)))
        layers, channels = patch_layers(spec.shape), source_channels(spec)
        return cls.fitting(spec, source_channels=channels, width=16, depth=depth, patch_layers=layers)


class UNet(nnx.Module):
    """Halve the sides, then double them with the maps of the way down at hand (eq. 3)."""

    def __init__(self, config: Pix2PixConfig, *, rngs: nnx.Rngs) -> None:
        self.range, self.dropout = config.range, config.dropout
        widths = [config.width * min(2**i, 8) for i in range(config.depth)]
        ins = [config.source_channels, *widths[:-1]]
        last = config.depth - 1
        self.down = nnx.List(
            conv(i, o, 4, strides=2, use_bias=n in (0, last), rngs=rngs)
            for n, (i, o) in enumerate(zip(ins, widths, strict=True))
        )
        outs = [*widths[-2::-1], config.shape[-1]]
        joined = [widths[-1], *(2 * width for width in widths[-2::-1])]
        init: dict[str, Any] = {"kernel_init": dcgan_normal(), "bias_init": zeros, "rngs": rngs}
        self.up = nnx.List(
            ConvTranspose(i, o, (4, 4), strides=(2, 2), use_bias=n == last, **init)
            for n, (i, o) in enumerate(zip(joined, outs, strict=True))
        )

    def __call__(self, z: Keys, y: Pictures) -> Float[Array, "batch height width target"]:
        """The target, within [−1, 1]."""
        h, maps = to_unit(y, self.range), []
        for i, layer in enumerate(self.down):
            h = layer(h if i == 0 else jax.nn.leaky_relu(h, LEAK))
            # The first map keeps the colours; the smallest may have one place, which (2) would put to 0.
            h = h if i in (0, len(self.down) - 1) else instance_norm(h)
            maps.append(h)
        for i, layer in enumerate(list(self.up)[:-1]):
            h = instance_norm(layer(jax.nn.relu(h)))
            h = drop(z, h, self.dropout, i) if i < DROPPED else h
            h = jnp.concatenate([h, maps[-2 - i]], -1)
        return jnp.tanh(self.up[-1](jax.nn.relu(h)))


class PairCritic(nnx.Module):
    """A patch critic of source and target together."""

    def __init__(self, config: Pix2PixConfig, *, rngs: nnx.Rngs) -> None:
        self.range = config.range
        channels = config.shape[-1] + config.source_channels
        self.patches = PatchCritic(channels, config.width, config.patch_layers, rngs=rngs)

    def __call__(self, x: Pictures, y: Pictures) -> Float[Array, "batch rows columns"]:
        """A logit for each patch."""
        return self.patches(jnp.concatenate([x, to_unit(y, self.range).astype(x.dtype)], -1))


class Pix2Pix(GenerativeModel):
    """A translator learned from pairs."""

    conditions: ClassVar[tuple[str, ...]] = ("y",)

    def __init__(self, config: Pix2PixConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.generator = UNet(config, rngs=rngs)
        self.discriminator = PairCritic(config, rngs=rngs)

    def __call__(self, x: Pictures, *, y: Pictures, rngs: nnx.Rngs | None = None) -> GANOutputs:
        """Translations of y, and the logits of both kinds of pairs."""
        return play(self, x, self.rngs_or_own(rngs), y=y)

    def loss_fn(self, batch: Batch, outputs: GANOutputs, *, ctx: StepContext | None = None) -> GANLosses:
        """Both sides' losses (eq. 1, 2)."""
        return game_losses(self, batch, outputs, ctx or first_step(self.rngs_or_own(None)))

    def generate(
        self, n_samples: int = 1, *, y: Pictures | None = None, z: Keys | None = None, rngs: nnx.Rngs | None = None
    ) -> Pictures:
        """Translations of the source pictures y, one for all samples or one each."""
        shape = (*self.config.shape[:2], self.config.source_channels)
        y = one_source_each("Pix2Pix.generate", y, n_samples, shape)
        return draw(self, n_samples, self.rngs_or_own(rngs), z, y=y)

    def translate(self, x: Pictures, *, rngs: nnx.Rngs | None = None) -> Pictures:
        """The target pictures of source pictures x."""
        return self.generate(len(x), y=x, rngs=rngs)

    def latent(self, n: int, rngs: nnx.Rngs) -> Keys:
        """The words of a random key for each row."""
        return jax.random.key_data(row_keys(rngs, n))

    def game(self, ctx: StepContext) -> Game:
        """Eq. 1 and 2."""
        return Game(halved(nonsaturating()), matching={"l1": lambda real, fake: self.config.l1_weight * l1(real, fake)})

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape or range, or without source pictures."""
        check_data(self.config, spec)
        check_sources("Pix2Pix", (*self.config.shape[:2], self.config.source_channels), spec)

    def training_spec(self) -> TrainingSpec:
        """Critic and generator in turn."""
        return adversarial(self)


def drop(z: Keys, h: Pictures, share: float, layer: int) -> Pictures:
    """h with a share of its entries put to 0, the others raised to keep the mean; the noise is the row's own."""
    keys = jax.vmap(lambda words: jax.random.fold_in(jax.random.wrap_key_data(words), layer))(z)
    kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - share, h.shape[1:]))(keys)
    return jnp.where(kept, h / (1 - share), 0)


def halved(loss: AdversarialLoss) -> AdversarialLoss:
    """The same game with a critic that learns at half the pace (eq. 1)."""
    return loss._replace(critic=lambda real, fake: 0.5 * loss.critic(real, fake))
