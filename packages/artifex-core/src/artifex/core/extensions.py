"""Extensions: loss terms and outputs that any model can be given.

    outputs(x) = model(x) ∪ {name: e.apply(model, batch, model(x)) for every extension e}                        (1)
    loss       = model's loss + Σ_e weight_e · e.compute_loss(batch, outputs)                                    (2)
An `ExtendedModel` is a model like any other: it trains, samples and is saved through the model inside it.

References:
    [1] Artifex: A Comprehensive Generative Modeling Framework, section 2.2
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from flax import nnx
from jaxtyping import Array, Float

from artifex.core.model import GenerativeModel
from artifex.core.protocols import Batch, Losses, Trainable
from artifex.core.training.objective import (
    Objective,
    StepContext,
    TrainingSpec,
    forward_loss,
    forward_outputs,
    training_spec,
)


@runtime_checkable
class ModelExtension(Protocol):
    """A loss term and an output beside a model's own [1]."""

    name: str
    weight: float  # of its loss in the model's
    objective: str | None  # of the model that the loss joins; None where there is only one

    def apply(self, model: Any, batch: Batch, outputs: Mapping[str, Any]) -> Any:
        """What is added to the outputs under the extension's name."""
        ...

    def compute_loss(self, batch: Batch, outputs: Mapping[str, Any]) -> Float[Array, ""]:
        """The loss term, a mean over examples."""
        ...


class ExtendedModel(GenerativeModel):
    """A model with extensions.

    Raises:
        ValueError: two extensions share a name, or one leaves open which of several objectives it joins.
    """

    def __init__(self, model: Any, extensions: Sequence[ModelExtension], *, rngs: nnx.Rngs) -> None:
        super().__init__(model.config, rngs=rngs)
        self.model = model
        self.extensions = (
            nnx.List(extensions) if any(isinstance(e, nnx.Module) for e in extensions) else tuple(extensions)
        )
        self.conditions = model.conditions  # pyright: ignore[reportAttributeAccessIssue]  the inner model's
        names = [extension.name for extension in extensions]
        if len(set(names)) != len(names):
            raise ValueError(f"ExtendedModel: expected extensions with different names, got {names}. Rename one.")
        objectives = [objective.name for objective in training_spec(model).objectives]
        for extension in extensions:
            target = extension.objective
            if target not in objectives and (target is not None or len(objectives) > 1):
                raise ValueError(
                    f"ExtendedModel: expected extension {extension.name!r} to name one of the objectives {objectives}, "
                    f"got {target!r}. Set its 'objective'."
                )

    def __call__(self, x: Array, *, rngs: nnx.Rngs | None = None, **conditions: Array) -> dict[str, Any]:
        """The model's outputs and each extension's under its name (eq. 1)."""
        outputs = dict(self.model(x, rngs=rngs, **conditions))
        batch = {"x": x, **conditions}
        return outputs | {e.name: e.apply(self.model, batch, outputs) for e in self.extensions}

    def loss_fn(self, batch: Batch, outputs: Mapping[str, Any], **kwargs: Any) -> Losses:
        """The model's loss with the weighted losses of the extensions (eq. 2)."""
        return self._with_terms(self.model.loss_fn(batch, outputs, **kwargs), batch, outputs, list(self.extensions))

    def generate(self, n_samples: int = 1, *, rngs: nnx.Rngs | None = None, **kwargs: Any) -> Array:
        """Samples of the model."""
        return self.model.generate(n_samples, rngs=rngs, **kwargs)

    def training_spec(self) -> TrainingSpec:
        """The model's own objectives, each with the extensions that join it.

        A model with objectives of its own computes its outputs once more for the extensions.
        """
        spec = training_spec(self.model)
        if not isinstance(self.model, Trainable):
            return dataclasses.replace(spec, objectives=(Objective(name="loss", loss=forward_loss),))
        return dataclasses.replace(
            spec, objectives=tuple(self._extended(objective, len(spec.objectives)) for objective in spec.objectives)
        )

    def _extended(self, objective: Objective, n_objectives: int) -> Objective:
        joins = [e.name for e in self.extensions if e.objective == objective.name or n_objectives == 1]

        def loss(extended: ExtendedModel, batch: Batch, ctx: StepContext) -> Losses:
            losses = objective.loss(extended.model, batch, ctx)
            outputs = forward_outputs(extended.model, batch, ctx)
            chosen = [e for e in extended.extensions if e.name in joins]
            outputs = dict(outputs) | {e.name: e.apply(extended.model, batch, outputs) for e in chosen}
            return extended._with_terms(losses, batch, outputs, chosen)

        prepare = None if objective.prepare is None else _Inner(objective.prepare)
        return dataclasses.replace(objective, loss=loss, prepare=prepare)

    def _with_terms(
        self, losses: Losses, batch: Batch, outputs: Mapping[str, Any], chosen: Sequence[ModelExtension]
    ) -> dict[str, Array]:
        terms = {extension.name: extension.compute_loss(batch, outputs) for extension in chosen}
        total = losses["loss"] + sum(e.weight * terms[e.name] for e in chosen)
        return {**losses, **terms, "loss": total}


class _Inner:
    """A function of the model, called with the extended one."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, extended: ExtendedModel, batch: Batch, ctx: StepContext) -> Any:
        return self.function(extended.model, batch, ctx)
