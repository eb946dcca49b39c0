"""CycleGAN: pictures of one kind from pictures of another, without pairs.

    x, y pictures of two kinds;  G: y → x,  F: x → y;  critics D_x, D_y of patches of 70 × 70
    lower over D   ½ E (D_x(x) − 1)² + ½ E D_x(G(y))²,  and the same for D_y and F                               (1)
    lower over G, F   E (D_x(G(y)) − 1)² + E (D_y(F(x)) − 1)²
                      + λ (‖G(F(x)) − x‖₁ + ‖F(G(y)) − y‖₁)                                                     (2)
                      + λ i (‖G(x) − x‖₁ + ‖F(y) − y‖₁)                                                         (3)
with λ = 10 and i = ½; norms are means over pixels. The critics see fakes out of a pool of the last 50 of each kind.
Networks: ResNet with 9 blocks (256 pixels) or 6 (128), reflection at the edges, instance normalisation.

Differs:
    convolutions before instance normalisation have no offset, which it would take out again.

References:
    [1] Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, 2017,
        arXiv:1703.10593
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypedDict

import jax
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.prob.noise import stream_key
from artifex.core.protocols import Batch, Losses
from artifex.core.training.objective import StepContext, TrainingSpec
from artifex.core.training.rows import masked_mean
from artifex.gan.adversarial import (
    GANConfig,
    adversarial,
    by_row,
    check_data,
    conditions_of,
    from_unit,
    summed,
    to_unit,
)
from artifex.gan.loss import Logits, least_squares
from artifex.gan.networks import Pictures
from artifex.gan.patchgan import PatchCritic
from artifex.gan.penalty import PerRow, check_weight
from artifex.gan.pool import ImagePool
from artifex.gan.translators import ResnetTranslator, check_sides, check_sources, l1, one_source_each, patch_layers

SIDES = (("critic_x", "critic_y"), ("to_x", "to_y"))
HALVINGS = 2  # of the generators


@dataclass(frozen=True, kw_only=True)
class CycleGANConfig(GANConfig):
    """A CycleGAN."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 1,
        "optimizer": {"name": "adam", "learning_rate": 2e-4, "schedule": "linear", "hold": 0.5, "betas": (0.5, 0.999)},
    }

    shape: tuple[int, int, int] = (128, 128, 3)  # of both kinds of pictures
    range: tuple[float, float] = (-1.0, 1.0)  # of the pixels of both
    width: int = 64  # channels next to the picture, of all four networks
    blocks: int = 6  # residual blocks; 9 for 256 pixels
    patch_layers: int = 3  # of a critic that halve the sides: 3 sees patches of 70 × 70
    cycle_weight: float = 10.0  # λ of eq. 2
    identity: float = 0.5  # i of eq. 3
    pool: int = 50  # past fakes of each kind

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sides("CycleGANConfig", self.shape, 2**HALVINGS)
        for name in ("cycle_weight", "identity", "pool"):
            check_weight("CycleGANConfig", name, getattr(self, name))

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape and range of the data; 16 channels and two residual blocks."""
        return cls.fitting(spec, width=16, blocks=2, patch_layers=patch_layers(spec.shape))


class CycleGANOutputs(TypedDict):
    """The forward pass; pictures within [−1, 1]."""

    fake_x: Pictures  # G(y)
    fake_y: Pictures  # F(x)
    cycle_x: Pictures  # G(F(x))
    cycle_y: Pictures  # F(G(y))
    same_x: Pictures  # G(x)
    same_y: Pictures  # F(y)


class CycleGANLosses(TypedDict):
    """What both sides lower."""

    loss: Float[Array, ""]  # of the generators
    adversarial: Float[Array, ""]
    cycle: Float[Array, ""]
    identity: Float[Array, ""]
    critic: Float[Array, ""]
    weight: Float[Array, ""]


class CycleGAN(GenerativeModel):
    """A translator learned without pairs."""

    conditions: ClassVar[tuple[str, ...]] = ("y",)

    def __init__(self, config: CycleGANConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        channel, sizes = config.shape[-1], (HALVINGS, config.blocks)
        self.to_x, self.to_y = (ResnetTranslator((channel, channel), config.width, sizes, rngs=rngs) for _ in range(2))
        self.critic_x, self.critic_y = (
            PatchCritic(channel, config.width, config.patch_layers, rngs=rngs) for _ in range(2)
        )
        self.pool_x, self.pool_y = (ImagePool(config.pool, config.shape) for _ in range(2))

    def __call__(self, x: Pictures, *, y: Pictures, rngs: nnx.Rngs | None = None) -> CycleGANOutputs:
        """All six translations; nothing is random."""
        x, y = (to_unit(rows, self.config.range) for rows in (x, y))
        fake_x, fake_y = self.to_x(y), self.to_y(x)
        return CycleGANOutputs(
            fake_x=fake_x,
            fake_y=fake_y,
            cycle_x=self.to_x(fake_y),
            cycle_y=self.to_y(fake_x),
            same_x=self.to_x(x),
            same_y=self.to_y(y),
        )

    def loss_fn(self, batch: Batch, outputs: CycleGANOutputs, *, ctx: StepContext | None = None) -> CycleGANLosses:
        """Both sides' losses, the critics' on the new fakes (eq. 1 to 3)."""
        config = self.config
        x, y = (to_unit(batch[name], config.range) for name in ("x", "y"))
        fooled = aimed_at_real(self.critic_x(outputs["fake_x"])) + aimed_at_real(self.critic_y(outputs["fake_y"]))
        cycle = config.cycle_weight * (l1(outputs["cycle_x"], x) + l1(outputs["cycle_y"], y))  # eq. 2
        same = l1(outputs["same_x"], x) + l1(outputs["same_y"], y)
        terms = {"cycle": cycle, "identity": config.cycle_weight * config.identity * same}  # eq. 3
        critic = judged(self, (x, y), (outputs["fake_x"], outputs["fake_y"]))
        return CycleGANLosses(
            **summed(fooled, terms, batch),
            adversarial=masked_mean(fooled, batch)[0],
            critic=masked_mean(critic, batch)[0],
        )

    def generate(self, n_samples: int = 1, *, y: Pictures | None = None, rngs: nnx.Rngs | None = None) -> Pictures:
        """G(y) of pictures y of the other kind, one for all samples or one each; `rngs` is not used."""
        y = one_source_each("CycleGAN.generate", y, n_samples, self.config.shape)
        return from_unit(self.to_x(to_unit(y, self.config.range)), self.config.range)

    def translate(self, x: Pictures, *, rngs: nnx.Rngs | None = None) -> Pictures:
        """Pictures of the kind y as pictures of the kind x."""
        return self.generate(len(x), y=x, rngs=rngs)

    def translate_back(self, x: Pictures) -> Pictures:
        """Pictures of the kind x as pictures of the kind y."""
        return from_unit(self.to_y(to_unit(x, self.config.range)), self.config.range)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape or range, or whose kinds differ in shape."""
        check_data(self.config, spec)
        check_sources("CycleGAN", self.config.shape, spec)

    def training_spec(self) -> TrainingSpec:
        """Both critics, then both generators."""
        return adversarial(self, losses=(critic_loss, generator_loss), sides=SIDES)


def critic_loss(model: CycleGAN, batch: Batch, ctx: StepContext) -> Losses:
    """Both critics' losses on fakes out of the pools, which move (eq. 1)."""
    x, y = (to_unit(rows, model.config.range) for rows in (batch["x"], conditions_of(model, batch)["y"]))
    keys = jax.random.split(stream_key(ctx.rngs, "pool"))
    new = [jax.lax.stop_gradient(fake) for fake in (model.to_x(y), model.to_y(x))]
    fakes = model.pool_x(new[0], keys[0]), model.pool_y(new[1], keys[1])
    return summed(judged(model, (x, y), fakes), {}, batch)


def generator_loss(model: CycleGAN, batch: Batch, ctx: StepContext) -> Losses:
    """Both generators' loss (eq. 2, 3)."""
    losses = model.loss_fn(batch, model(batch["x"], y=conditions_of(model, batch)["y"]))
    return {name: value for name, value in losses.items() if name != "critic"}


def judged(model: CycleGAN, real: tuple[Pictures, Pictures], fake: tuple[Pictures, Pictures]) -> PerRow:
    """What the critics lower (eq. 1)."""
    critics = (model.critic_x, model.critic_y)
    values = [least_squares().critic(d(r), d(f)) for d, r, f in zip(critics, real, fake, strict=True)]
    return by_row(values[0]) + by_row(values[1])


def aimed_at_real(logits: Logits) -> PerRow:
    """(D − 1)², the mean over patches."""
    return by_row((logits - 1) ** 2)
