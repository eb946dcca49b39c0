"""The model that every recipe of this package is: a base density under an invertible map.

    log p(x|c) = log p(f(x; c)|c) + log |det ∂f/∂x|                                                              (1)
    samples    x = f⁻¹(z; c),    z ~ p(z|c), whose spread may be scaled by a temperature                         (2)
    levels     P(x) = ∫ p(x + Δu) Δ^D du ≥ exp E[log p(x + Δu) + D log Δ],    u uniform on [0, 1)^D     [2]       (3)
    bits a dimension   −log P(x) / (D log 2)                                                                     (4)
A recipe builds `base` and `bijector` in its constructor and hands them to `Flow`; nothing else is its own. With a
context width above zero it is conditional on "y": vectors of that width, or classes below it, which enter as one-hot.

References:
    [1] Papamakarios et al., Normalizing Flows for Probabilistic Modeling and Inference, 2019, arXiv:1912.02762
    [2] Theis, van den Oord & Bethge, A note on the evaluation of generative models, 2015, arXiv:1511.01844
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, NotRequired, Protocol, Self, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Num

from artifex.core.config import ModelConfig
from artifex.core.data.spec import DataSpec
from artifex.core.leaves import assign, flatten, merge, select
from artifex.core.model import GenerativeModel
from artifex.core.protocols import Batch
from artifex.core.training.objective import Objective, StepContext, TrainingSpec, forward_loss
from artifex.core.training.rows import masked_mean
from artifex.flow import support
from artifex.flow.base import Base
from artifex.flow.bijector import Bijector, Context, Data, Estimated, FromData, Mapped, PerRow, initialise

Condition = Num[Array, "batch ..."]


@dataclass(frozen=True, kw_only=True)
class FlowConfig(ModelConfig):
    """What every flow has."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 256,
        "optimizer": {"learning_rate": 1e-3, "schedule": "cosine", "clip_norm": 5.0},
    }

    context_dim: int = 0  # numbers in the condition y, or its classes; 0 is no condition

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context_dim < 0:
            raise ValueError(
                f"{type(self).__name__}: expected 'context_dim' >= 0, got {self.context_dim}. "
                "Give the width of y, the number of its classes, or 0 for no condition."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """As many numbers as the data have."""
        sizes: dict[str, Any] = {"dim": math.prod(spec.shape)}  # a field of every flow of vectors
        return cls(**sizes)


class Dequantiser(Protocol):
    """Noise that fills the gaps between the levels of discrete data (eq. 3)."""

    @property
    def levels(self) -> int:
        """How many there are."""
        ...

    def __call__(self, x: Data, rngs: nnx.Rngs) -> Mapped:
        """(x + Δu, D log Δ)."""
        ...

    def restore(self, x: Data) -> Data:
        """The level whose gap x lies in."""
        ...


class FlowOutputs(TypedDict):
    """The forward pass."""

    log_prob: PerRow  # nats; with a dequantiser, of the discrete data: one draw of the bound (eq. 3)
    z: Float[Array, "batch *base"]


class FlowLosses(TypedDict):
    """Nats per example, and bits per dimension where the data have levels."""

    loss: Float[Array, ""]  # −log p(x)
    bits_per_dim: NotRequired[Float[Array, ""]]
    weight: Float[Array, ""]


class Draws(NamedTuple):
    """Samples and their own log-density, in nats."""

    x: Data
    log_prob: PerRow


class Flow(GenerativeModel):
    """A base density under an invertible map; a `Likelihood`, and `Bijective`."""

    def __init__(
        self,
        config: FlowConfig,
        base: Base,
        bijector: Bijector,
        *,
        dequantise: Dequantiser | None = None,
        bounds: support.Bounds | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(config, rngs=rngs)
        self.base = base
        self.bijector = bijector
        self.dequantise = dequantise
        self.bounds = bounds
        if config.context_dim:
            self.conditions = ("y",)  # pyright: ignore[reportAttributeAccessIssue]  of this recipe, not of its class
        if select(self, FromData):
            self.initialised = FromData(jnp.zeros((), bool))

    def __call__(self, x: Data, *, y: Condition | None = None, rngs: nnx.Rngs | None = None) -> FlowOutputs:
        """log p(x), and the base sample that x stands for."""
        log_volume = jnp.zeros(len(x), x.dtype)
        if self.dequantise is not None:
            x, log_volume = self.dequantise(x, self.rngs_or_own(rngs))  # eq. 3
        if isinstance(self.bijector, Estimated):
            z, log_det = self.bijector.estimate(x, self.context(y, len(x)), self.rngs_or_own(rngs))
        else:
            z, log_det = self.forward(x, y=y)
        return FlowOutputs(log_prob=self._base_log_prob(z, y) + log_det + log_volume, z=z)

    def loss_fn(self, batch: Batch, outputs: FlowOutputs) -> FlowLosses:
        """−log p(x) in nats, the mean over examples (eq. 1)."""
        loss, weight = masked_mean(-outputs["log_prob"], batch)
        if self.dequantise is None:
            return FlowLosses(loss=loss, weight=weight)
        size = math.prod(self.bijector.event_shape)
        return FlowLosses(loss=loss, bits_per_dim=loss / (size * math.log(2)), weight=weight)  # eq. 4

    def generate(
        self,
        n_samples: int = 1,
        *,
        y: Condition | None = None,
        temperature: float | Float[Array, ""] = 1.0,
        rngs: nnx.Rngs | None = None,
    ) -> Data:
        """Samples, levels where the data have them; `temperature` scales the deviation of the base (eq. 2)."""
        c = self.context(y, n_samples)
        z = self.base.sample(n_samples, self.rngs_or_own(rngs), c, temperature=temperature)
        x = self.bijector.sample(z, c) if isinstance(self.bijector, Estimated) else self.bijector.inverse(z, c).value
        return x if self.dequantise is None else self.dequantise.restore(x)

    def sample_and_log_prob(
        self, n_samples: int = 1, *, y: Condition | None = None, rngs: nnx.Rngs | None = None
    ) -> Draws:
        """Samples with their log-density, which takes no pass in the other direction (eq. 1, 3)."""
        c = self.context(y, n_samples)
        z = self.base.sample(n_samples, self.rngs_or_own(rngs), c)
        x, log_det = self.bijector.inverse(z, c)
        return Draws(x, self.base.log_prob(z, c) - log_det)

    def log_prob(self, x: Data, *, y: Condition | None = None) -> PerRow:
        """log p(x) in nats, the density of continuous x (eq. 1)."""
        z, log_det = self.forward(x, y=y)
        return self._base_log_prob(z, y) + log_det  # eq. 1

    def log_mass(self, x: Data, *, y: Condition | None = None, rngs: nnx.Rngs | None = None) -> PerRow:
        """log P(x) in nats of data in levels, one draw of its bound (eq. 3); log p(x) of other data."""
        if self.dequantise is None:
            return self.log_prob(x, y=y)
        x, log_volume = self.dequantise(x, self.rngs_or_own(rngs))
        return self.log_prob(x, y=y) + log_volume

    def forward(self, x: Data, *, y: Condition | None = None) -> Mapped:
        """(z, log |det ∂z/∂x|)."""
        if x.shape[1:] != self.bijector.event_shape:
            raise ValueError(
                f"{type(self).__name__}: expected events of shape {self.bijector.event_shape}, got {x.shape[1:]}. "
                "The first axis is the batch; set the shape of the data in the config."
            )
        return self.bijector.forward(x, self.context(y, len(x)))

    def inverse(self, z: Data, *, y: Condition | None = None) -> Mapped:
        """(x, log |det ∂x/∂z|)."""
        return self.bijector.inverse(z, self.context(y, len(z)))

    def context(self, y: Condition | None, n: int) -> Context | None:
        """The context of n rows; y may be one for all.

        Raises:
            ValueError: y is missing, not wanted, or of another width.
        """
        width = self.config.context_dim
        if (y is None) != (width == 0):
            raise ValueError(
                f"{type(self).__name__}: expected {'no condition' if width == 0 else 'a condition y'}, got "
                f"{'none' if y is None else f'y of shape {y.shape}'}. {'Set context_dim' if width == 0 else 'Pass y'}."
            )
        return None if y is None else as_context(jnp.asarray(y), n, width)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, with levels that nothing fills, or with other conditions."""
        where = type(self).__name__
        support.check_shape(where, self.bijector.event_shape, spec)
        support.check_levels(where, None if self.dequantise is None else self.dequantise.levels, spec)
        support.check_condition(where, self.config.context_dim, spec)

    def check_examples(self, examples: Mapping[str, np.ndarray]) -> None:
        """Refuse numbers outside the support, and columns that repeat few values."""
        x = np.asarray(examples["x"])
        if self.bounds is not None:
            support.check_bounds(type(self).__name__, x, self.bounds)
        if self.dequantise is None:
            support.check_distinct(type(self).__name__, x)

    def training_spec(self) -> TrainingSpec:
        """−log p(x); what depends on the first batch is set before it."""
        prepare = initialise_once if select(self, FromData) else None
        return TrainingSpec(objectives=(Objective(name="loss", loss=forward_loss, prepare=prepare),))

    def _base_log_prob(self, z: Data, y: Condition | None) -> PerRow:
        return self.base.log_prob(z, self.context(y, len(z)))


def row_weights(values: Float[Array, "batch *event"], batch: Batch) -> PerRow:
    """1 for a row that counts, 0 for padding."""
    if "mask" not in batch:
        return jnp.ones(len(values), values.dtype)
    return (batch["mask"] > 0).astype(values.dtype)


def initialise_once(model: Flow, batch: Batch, ctx: StepContext) -> None:
    """Set the `FromData` variables from this batch, if none was seen before."""
    # Noise is drawn out here, because a branch of `cond` may not move a stream on.
    x = batch["x"] if model.dequantise is None else model.dequantise(batch["x"], ctx.rngs).value
    layout, arrays = flatten(model)
    names = sorted(select(model, FromData))

    def fill() -> dict[str, Array]:
        fresh = merge(layout, arrays)
        context = fresh.context(batch.get("y") if fresh.conditions else None, len(x))
        initialise(fresh.bijector, x, context, row_weights(x, batch))
        fresh.initialised[...] = jnp.ones((), bool)
        found = flatten(fresh)[1]
        return {name: found[name].astype(arrays[name].dtype) for name in names}

    filled = jax.lax.cond(model.initialised[...], lambda: {name: arrays[name] for name in names}, fill)
    assign(model, arrays | filled)


def as_context(y: Condition, n: int, width: int) -> Context:
    """y as vectors; a class out of range gives NaN, which the loss refuses, instead of another class's.

    Raises:
        ValueError: y has another width.
    """
    if y.ndim < 2 and jnp.issubdtype(y.dtype, jnp.integer):
        y = jnp.where(((y >= 0) & (y < width))[..., None], jax.nn.one_hot(y, width), jnp.nan)
    if y.shape[-1:] != (width,):
        raise ValueError(
            f"Flow: expected a condition y of width {width}, got shape {y.shape}. "
            "Give one row an example, or integer classes below context_dim."
        )
    return jnp.broadcast_to(y, (n, width))
