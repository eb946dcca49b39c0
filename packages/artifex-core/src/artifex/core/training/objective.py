"""What a model asks of the trainer: objectives.

Most models need nothing here: one objective is made of `__call__` and `loss_fn`. A GAN has two objectives, an energy
model one with `prepare`. No family has a training loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from flax import nnx
from jaxtyping import Array, Int

from artifex.core.protocols import Batch, GenerativeModelProtocol, Losses, Trainable


class StepContext(NamedTuple):
    """What a loss may know about where training stands."""

    step: Int[Array, ""]  # updates done so far
    steps: int  # updates planned in all
    rngs: nnx.Rngs  # made inside the trace, a pure function of (seed, step, objective, repeat, microbatch)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One loss, the parameters it moves, and how often."""

    name: str
    loss: Callable[[Any, Batch, StepContext], Losses]
    wrt: Any = nnx.Param  # an nnx filter
    repeat: int = 1  # updates a step (a critic's n_critic)
    every: int = 1  # update only on each n-th step (lazy regularisation)
    feed: Literal["reuse", "split"] = "reuse"  # repeats see the same batch, or one part of it each
    prepare: Callable[[Any, Batch, StepContext], None] | None = None  # outside the gradient; may write Variables
    project: Callable[[Array], Array] | None = None  # of each parameter moved, after its update (weight clipping)
    additive: bool = True  # False: the loss is no mean over examples, so parts of a batch do not add up

    def __post_init__(self) -> None:
        if self.repeat < 1 or self.every < 1:
            raise ValueError(
                f"Objective {self.name!r}: expected 'repeat' and 'every' >= 1, got {self.repeat} and {self.every}. "
                "Use every=n for an update on each n-th step."
            )


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """The objectives of a model, what its average covers, and what stays as it is."""

    objectives: tuple[Objective, ...]
    ema: Any = nnx.Param  # filter: the parameters that an exponential moving average follows
    frozen: Any = ()  # filter: parameters that no objective moves, on purpose


def forward_outputs(model: Any, batch: Batch, ctx: StepContext) -> Any:
    """The forward pass on a batch, with the conditions that the model names.

    Raises:
        ValueError: the batch lacks one of them.
    """
    missing = [key for key in ("x", *model.conditions) if key not in batch]
    if missing:
        raise ValueError(
            f"{type(model).__name__}: expected a batch with {missing[0]!r}, got {sorted(batch)}. "
            "Train on data that hold it, or choose a model without this condition."
        )
    conditions = {key: batch[key] for key in model.conditions}
    return model(batch["x"], rngs=ctx.rngs, **conditions)


def forward_loss(model: Any, batch: Batch, ctx: StepContext) -> Losses:
    """`loss_fn` of the forward pass: the objective of a model that names none."""
    return model.loss_fn(batch, forward_outputs(model, batch, ctx))


def training_spec(model: GenerativeModelProtocol) -> TrainingSpec:
    """The model's own spec, or one objective named `loss` from `__call__` and `loss_fn`."""
    if isinstance(model, Trainable):
        return model.training_spec()
    return TrainingSpec(objectives=(Objective(name="loss", loss=forward_loss),))
