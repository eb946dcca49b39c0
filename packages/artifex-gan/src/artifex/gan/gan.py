"""What the GANs of noise share: the forward pass, both losses, and samples.

    z ~ N(0, I),   x̃ = G(z), or G(z, y) where there are classes                                                 (1)
A paper adds two networks, `generator` and `discriminator`, and what is played between them: `game`.

Reference:
    Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661, section 3
"""

from __future__ import annotations

from typing import ClassVar

from flax import nnx

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
from artifex.gan.condition import Labels, check_classes, one_each
from artifex.gan.networks import Latent, is_additive
from artifex.gan.penalty import Data


class NoiseModel(GenerativeModel):
    """A `generator` of noise and its critic, the `discriminator`; see `adversarial` for how they are called.

    The config has `shape`, `range`, `z_dim` and `networks`.
    """

    def loss_fn(self, batch: Batch, outputs: GANOutputs, *, ctx: StepContext | None = None) -> GANLosses:
        """Both sides' losses of the game."""
        return game_losses(self, batch, outputs, ctx or first_step(self.rngs_or_own(None)))

    def latent(self, n: int, rngs: nnx.Rngs) -> Latent:
        """z ~ N(0, I) (eq. 1)."""
        return normal_latent(n, self.config.z_dim, rngs)

    def game(self, ctx: StepContext) -> Game:
        """What is played at a step: the paper's loss and its penalties."""
        raise NotImplementedError

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape or range."""
        check_data(self.config, spec)

    def training_spec(self) -> TrainingSpec:
        """Critic and generator in turn."""
        return adversarial(self, additive=is_additive(self.config.networks))


class GAN(NoiseModel):
    """A GAN that draws what it likes."""

    def __call__(self, x: Data, *, rngs: nnx.Rngs | None = None) -> GANOutputs:
        """Fakes, and the critic's logits of data and fakes."""
        return play(self, x, self.rngs_or_own(rngs))

    def generate(
        self,
        n_samples: int = 1,
        *,
        y: Condition | None = None,
        z: Latent | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Data:
        """Samples G(z), of the given z or of draws (eq. 1)."""
        refuse_condition(self, y)
        return draw(self, n_samples, self.rngs_or_own(rngs), z)


class ClassGAN(NoiseModel):
    """A GAN that draws what class is asked for. The config has `n_classes` too."""

    conditions: ClassVar[tuple[str, ...]] = ("y",)

    def __call__(self, x: Data, *, y: Labels, rngs: nnx.Rngs | None = None) -> GANOutputs:
        """Fakes, and the critic's logits of data and fakes."""
        return play(self, x, self.rngs_or_own(rngs), y=y)

    def generate(
        self,
        n_samples: int = 1,
        *,
        y: Labels | None = None,
        z: Latent | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Data:
        """Samples G(z, y), for one class or one a row (eq. 1)."""
        y = one_each(f"{type(self).__name__}.generate", y, n_samples, self.config.n_classes)
        return draw(self, n_samples, self.rngs_or_own(rngs), z, y=y)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, range or number of classes."""
        check_data(self.config, spec)
        check_classes(type(self).__name__, self.config.n_classes, spec)
