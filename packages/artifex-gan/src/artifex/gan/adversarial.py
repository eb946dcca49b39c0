"""The game: a critic D against a generator G, as two objectives of one trainer.

    z ~ p(z),  x̃ = G(z)                                                                                         (1)
    critic     lower  mean ℓ_D(D(x), D(sg x̃)) + Σ penalties      over the parameters of D                      (2)
    generator  lower  mean ℓ_G(D(x), D(x̃))                       over the parameters of G                      (3)
sg stops the gradient. With `critic_steps` = n and feed "split", each of n critic updates sees a part of the batch of
its own, and the generator the rows 0, n, 2n, …, as many as one critic update does. A model of this kind has

    generator(z, y=None) -> x     discriminator(x, y=None) -> logits     latent(n, rngs) -> z     game(ctx) -> Game
where y is left out unless the model names it in `conditions`. Both see data scaled to [−1, 1] (see `to_unit`).

References:
    [1] Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661
    [2] Gulrajani et al., Improved Training of Wasserstein GANs, 2017, arXiv:1704.00028
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self, TypedDict

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Num

from artifex.core.config import ModelConfig
from artifex.core.data.spec import DataSpec
from artifex.core.leaves import flatten, merge
from artifex.core.prob import noise
from artifex.core.prob.noise import stream_key
from artifex.core.protocols import Batch, Losses
from artifex.core.training.objective import Objective, StepContext, TrainingSpec
from artifex.core.training.rows import masked_mean
from artifex.gan.loss import AdversarialLoss, Logits
from artifex.gan.penalty import Critic, Data, Penalty, PerRow

Condition = Num[Array, "batch ..."]
Augment = Callable[[Data, nnx.Rngs], Data]
Range = tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class GANConfig(ModelConfig):
    """What configs with the fields `shape` and `range` share."""

    @classmethod
    def fitting(cls, spec: DataSpec, **fields: Any) -> Self:
        """A config with the data's shape and range, and other fields."""
        bounded = spec.low is not None and spec.high is not None
        return cls(**{"shape": spec.shape, "range": (spec.low, spec.high) if bounded else None} | fields)


def unchanged(x: Data, rngs: nnx.Rngs) -> Data:
    """x itself: no augmentation."""
    return x


class Game(NamedTuple):
    """What is played at a step."""

    loss: AdversarialLoss
    penalties: tuple[Penalty, ...] = ()  # terms of the critic's loss
    augment: Augment = unchanged  # of everything that the critic sees; penalties look through it
    observe: Callable[[Logits], None] = lambda logits: None  # is told the real logits of the critic's pass
    matching: Mapping[str, Callable[[Data, Data], PerRow]] = {}  # (real, fake) -> terms of the generator's loss


class GANOutputs(TypedDict):
    """The forward pass."""

    fake: Data  # within [−1, 1], as the critic sees it
    logits_real: Logits
    logits_fake: Logits


class GANLosses(TypedDict, total=False):
    """What both sides lower; each penalty stands under its name."""

    loss: Float[Array, ""]  # the generator's
    critic: Float[Array, ""]  # with the penalties
    r1: Float[Array, ""]
    r2: Float[Array, ""]
    gradient_penalty: Float[Array, ""]
    lecam: Float[Array, ""]
    l1: Float[Array, ""]
    weight: Float[Array, ""]


def first_step(rngs: nnx.Rngs) -> StepContext:
    """The context of a pass outside of training."""
    return StepContext(jnp.zeros((), jnp.int32), 1, rngs)


def streams(rngs: nnx.Rngs) -> tuple[nnx.Rngs, nnx.Rngs, nnx.Rngs]:
    """Streams of their own for latents, augmentation and penalties, from one key."""
    key = stream_key(rngs, "noise")
    latent, augment, penalty = (nnx.Rngs(jax.random.fold_in(key, i)) for i in range(3))
    return latent, augment, penalty


def conditions_of(model: Any, batch: Batch) -> dict[str, Array]:
    """The conditions that the model names, from a batch."""
    missing = [name for name in ("x", *model.conditions) if name not in batch]
    if missing:
        raise ValueError(
            f"{type(model).__name__}: expected a batch with {missing[0]!r}, got {sorted(batch)}. "
            "Train on data that hold it, or choose a model without this condition."
        )
    return {name: batch[name] for name in model.conditions}


def play(model: Any, x: Data, rngs: nnx.Rngs, **given: Condition) -> GANOutputs:
    """Fakes and the logits of both (eq. 1); `x` as the data hold it."""
    latents, augments, _ = streams(rngs)
    augment = augmentation(model.game(first_step(rngs)), augments)
    fake = model.generator(model.latent(len(x), latents), **given)  # eq. 1
    real = to_unit(x, model.config.range)
    logits = [model.discriminator(augment(rows), **given) for rows in (real, fake)]
    return GANOutputs(fake=fake, logits_real=logits[0], logits_fake=logits[1])


def augmentation(game: Game, rngs: nnx.Rngs) -> Callable[[Data], Data]:
    """The game's augmentation with its noise fixed: real and fake rows are changed alike."""
    key = stream_key(rngs, "augment")
    return lambda x: game.augment(x, nnx.Rngs(key))


def still_critic(model: Any, augment: Callable[[Data], Data], given: Mapping[str, Condition]) -> Critic:
    """D behind the augmentation as a pure function of x: what it writes into Variables is dropped."""
    layout, arrays = flatten(model.discriminator)
    return lambda x: merge(layout, arrays)(augment(x), **given)


def critic_loss(model: Any, batch: Batch, ctx: StepContext) -> Losses:
    """ℓ_D and the penalties, means over the rows that count (eq. 2)."""
    given = conditions_of(model, batch)
    game = model.game(ctx)
    latents, augments, penalties = streams(ctx.rngs)
    augment = augmentation(game, augments)
    real = to_unit(batch["x"], model.config.range)
    fake = jax.lax.stop_gradient(model.generator(model.latent(len(real), latents), **given))  # eq. 1
    logits = [model.discriminator(augment(rows), **given) for rows in (real, fake)]
    game.observe(logits[0])
    critic = still_critic(model, augment, given)
    terms = penalty_terms(game, critic, (real, fake), StepContext(ctx.step, ctx.steps, penalties))
    return summed(by_row(game.loss.critic(*logits)), terms, batch) | {
        "logits_real": masked_mean(by_row(logits[0]), batch)[0],
        "logits_fake": masked_mean(by_row(logits[1]), batch)[0],
    }


def penalty_terms(game: Game, critic: Critic, rows: tuple[Data, Data], ctx: StepContext) -> dict[str, PerRow]:
    """Each penalty of the game by name."""
    return {penalty.name: penalty.at(ctx.step, critic, rows, ctx.rngs) for penalty in game.penalties}


def summed(values: PerRow, terms: Mapping[str, PerRow], batch: Batch) -> dict[str, Array]:
    """The sum of values and terms under "loss", each term under its name, all means over the rows that count."""
    total = sum(terms.values(), values.astype(jnp.float32))
    loss, weight = masked_mean(total, batch)
    return {"loss": loss, **{name: masked_mean(term, batch)[0] for name, term in terms.items()}, "weight": weight}


def generator_loss(model: Any, batch: Batch, ctx: StepContext) -> Losses:
    """ℓ_G, the mean over the rows that count (eq. 3)."""
    given = conditions_of(model, batch)
    game = model.game(ctx)
    latents, augments, _ = streams(ctx.rngs)
    augment = augmentation(game, augments)
    real = to_unit(batch["x"], model.config.range)
    fake = model.generator(model.latent(len(real), latents), **given)
    logits_fake = model.discriminator(augment(fake), **given)
    logits_real = model.discriminator(augment(real), **given) if game.loss.paired else logits_fake
    terms = {name: match(real, fake) for name, match in game.matching.items()}
    return summed(by_row(game.loss.generator(logits_real, logits_fake)), terms, batch)


def game_losses(model: Any, batch: Batch, outputs: GANOutputs, ctx: StepContext) -> GANLosses:
    """Both sides' losses of a forward pass, equal to the objectives where `ctx` holds the rngs of that pass."""
    given = conditions_of(model, batch)
    game = model.game(ctx)
    _, augments, penalties = streams(ctx.rngs)
    logits = outputs["logits_real"], outputs["logits_fake"]
    rows = to_unit(batch["x"], model.config.range), outputs["fake"]
    critic = still_critic(model, augmentation(game, augments), given)
    terms = penalty_terms(game, critic, rows, StepContext(ctx.step, ctx.steps, penalties))
    sums = summed(by_row(game.loss.critic(*logits)), terms, batch)  # eq. 2
    matched = {name: match(*rows) for name, match in game.matching.items()}
    generator = summed(by_row(game.loss.generator(*logits)), matched, batch)  # eq. 3
    return GANLosses(**{**sums, "critic": sums["loss"], **generator})


def adversarial(
    model: nnx.Module,
    *,
    critic_steps: int = 1,
    feed: Literal["reuse", "split"] = "split",
    losses: tuple[Callable[..., Losses], Callable[..., Losses]] = (critic_loss, generator_loss),
    sides: tuple[tuple[str, ...], tuple[str, ...]] = (("discriminator",), ("generator",)),
    **options: Any,
) -> TrainingSpec:
    """The objectives `critic` and `generator`, with an average over the generator.

    Args:
        losses: of critic and generator.
        sides: attributes of the model that hold each side's parameters.
        options: of the critic's objective, such as `prepare`, `project` and `additive`.
    """
    check_cover(model, sides)
    critic, generator = losses
    additive = options.get("additive", True)
    thinned = functools.partial(on_rows, generator, critic_steps if feed == "split" else 1)
    return TrainingSpec(
        objectives=(
            Objective(name="critic", loss=critic, wrt=inside(*sides[0]), repeat=critic_steps, feed=feed, **options),
            Objective(name="generator", loss=thinned, wrt=inside(*sides[1]), additive=additive),
        ),
        ema=inside(*sides[1]),
    )


def on_rows(loss: Callable[..., Losses], n: int, model: Any, batch: Batch, ctx: StepContext) -> Losses:
    """A loss on the rows 0, n, 2n, … of the batch."""
    return loss(model, {name: rows[::n] for name, rows in batch.items()}, ctx)


def inside(*names: str) -> Callable[[Any, Any], bool]:
    """An nnx filter: the parameters below some attributes of the model."""
    return lambda path, value: bool(path) and path[0] in names and isinstance(value, nnx.Param)


def check_cover(model: nnx.Module, sides: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    """Refuse a parameter on both sides."""
    shared = set(sides[0]) & set(sides[1])
    if shared:
        raise ValueError(
            f"{type(model).__name__}: expected each parameter on one side, got {sorted(shared)} on both. Name it once."
        )


def draw(model: Any, n: int, rngs: nnx.Rngs, z: Num[Array, "batch *latent"] | None = None, **given: Any) -> Data:
    """n samples in the range of the data, from z where it is given (eq. 1)."""
    latent = model.latent(n, rngs) if z is None else z
    if len(latent) != n:
        raise ValueError(
            f"{type(model).__name__}.generate: expected {n} rows of z, got {len(latent)}. Give one a sample."
        )
    return from_unit(model.generator(latent, **given), model.config.range)


def normal_latent(n: int, width: int, rngs: nnx.Rngs) -> Float[Array, "batch latent"]:
    """z ~ N(0, I)."""
    return noise.normal(rngs, (n, width))


def refuse_condition(model: Any, y: Any) -> None:
    """Refuse a condition that the model does not take."""
    if y is not None:
        raise ValueError(
            f"{type(model).__name__}.generate: expected no condition y, got one of shape {jnp.shape(y)}. "
            "Leave it out, or use a conditional model such as 'cgan'."
        )


def decay_for(half_life: float, batch_size: int) -> float:
    """The decay a step of an average that forgets half in `half_life` images, whatever the batch."""
    if half_life <= 0:
        raise ValueError(f"decay_for: expected 'half_life' > 0 images, got {half_life}. Leave ema_decay out for none.")
    return 0.5 ** (batch_size / half_life)


def by_row(values: Logits) -> PerRow:
    """The mean over the logits of each row."""
    return values.reshape(len(values), -1).mean(-1)


def to_unit(x: Data, limits: Range) -> Data:
    """Data within `limits` as numbers within [−1, 1]; as they are where there are no limits."""
    if limits is None or limits == (-1.0, 1.0):
        return x
    return (x - limits[0]) * (2 / (limits[1] - limits[0])) - 1


def from_unit(x: Data, limits: Range) -> Data:
    """The inverse of `to_unit`."""
    if limits is None or limits == (-1.0, 1.0):
        return x
    return limits[0] + (x + 1) * ((limits[1] - limits[0]) / 2)


def check_data(config: Any, spec: DataSpec) -> None:
    """Refuse data of another shape or range."""
    where = type(config).__name__
    if spec.shape != config.shape:
        raise ValueError(
            f"{where}: expected data of shape {config.shape}, got {spec.shape}. Set model.shape to {list(spec.shape)}."
        )
    if config.range is not None and spec.low is not None and (spec.low, spec.high) != config.range:
        raise ValueError(
            f"{where}: expected data in {list(config.range)}, got [{spec.low}, {spec.high}]. "
            f"Set model.range to [{spec.low}, {spec.high}]."
        )
