"""Per-example values of a model, compiled, batch by batch.

| protocol    | gives                                                    |
|-------------|----------------------------------------------------------|
| Scorer      | values in nats by name, such as `elbo` and `iwae_50`     |
| Likelihood  | `nll`, and `bits_per_dim` where the data are in levels   |
| Autoencoder | `reconstruction`                                         |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.source import Source, batches
from artifex.core.evaluation.likelihood import PerExample
from artifex.core.evaluation.metric import Kept, TooFewRows
from artifex.core.evaluation.result import Result
from artifex.core.leaves import flatten, merge
from artifex.core.model import GenerativeModel
from artifex.core.prob.noise import RowRngs
from artifex.core.protocols import Autoencoder, LevelLikelihood, Likelihood

BATCH = 256
Values = Mapping[str, Float[Array, " batch"]]


@runtime_checkable
class Scorer(Protocol):
    """A model with per-example scores, higher is better."""

    def scores(self, x: Array, *, rngs: nnx.Rngs, **conditions: Array) -> Values:
        """Values in nats, by name."""
        ...


def scores(model: Any, x: Array, rngs: nnx.Rngs, conditions: Mapping[str, Array]) -> Values:
    """What the model calls its scores."""
    return model.scores(x, rngs=rngs, **conditions)


def likelihood(model: Any, x: Array, rngs: nnx.Rngs, conditions: Mapping[str, Array]) -> Values:
    """−log p(x) in nats, and in bits an entry; of data in levels it is their mass that counts."""
    if isinstance(model, LevelLikelihood):
        nll = -model.log_mass(x, rngs=rngs, **conditions)
    else:
        nll = -model.log_prob(x, **conditions)
    return {"nll": nll, "bits_per_dim": nll / (math.prod(x.shape[1:]) * math.log(2))}


def reconstruction(model: Any, x: Array, rngs: nnx.Rngs, conditions: Mapping[str, Array]) -> Values:
    """Squared error of decode(encode(x)), the mean over entries."""
    return {"reconstruction": ((model.decode(model.encode(x)) - x) ** 2).reshape(len(x), -1).mean(-1)}


class Rule(NamedTuple):
    """Metrics that one protocol brings."""

    names: tuple[str, ...]
    protocol: type
    function: Callable[..., Values]
    higher_is_better: bool
    missing: str  # what is said of a model that does not have it


RULES = (
    Rule(("scores",), Scorer, scores, True, "gives no bound of its likelihood"),
    Rule(("nll", "bits_per_dim"), Likelihood, likelihood, False, "has no exact likelihood"),
    Rule(("reconstruction",), Autoencoder, reconstruction, False, "is no autoencoder"),
)
PER_EXAMPLE = tuple(name for rule in RULES for name in rule.names)


class Scoring(NamedTuple):
    """A model and the data on which its examples are scored."""

    model: GenerativeModel
    source: Source
    label: str  # of the data, in results
    seed: int

    def results(self, wanted: Sequence[str]) -> tuple[list[Result], list[tuple[str, str]]]:
        """Values of the per-example metrics among `wanted`, and those left out with the reason."""
        found: list[Result] = []
        skipped: list[tuple[str, str]] = []
        for rule in RULES:
            names = [name for name in rule.names if name in wanted]
            if "bits_per_dim" in names and self.source.spec.levels is None:
                names.remove("bits_per_dim")
                skipped.append(("bits_per_dim", "the data are not in levels"))
            if names and isinstance(self.model, rule.protocol):
                self._apply(rule, names, found, skipped)
            else:
                skipped += [(name, f"{type(self.model).__name__} {rule.missing}") for name in names]
        return found, skipped

    def _apply(self, rule: Rule, names: list[str], found: list[Result], skipped: list[tuple[str, str]]) -> None:
        states: dict[str, Kept] = {}
        for first, mask, values in self.values(rule.function):
            for name in values if rule.protocol is Scorer else names:
                metric = PerExample(name=name, higher_is_better=rule.higher_is_better)
                rows = {"values": values[name], "index": first + np.arange(len(mask))}
                states[name] = metric.update(states.get(name, metric.init()), rows, mask)
        for name, state in states.items():
            metric = PerExample(name=name, higher_is_better=rule.higher_is_better)
            try:
                found.append(Result.of(name, metric.compute(state), metric, self.label))
            except TooFewRows as reason:
                skipped.append((name, str(reason)))

    def values(self, function: Callable[..., Values]) -> Iterator[tuple[int, np.ndarray, Mapping[str, np.ndarray]]]:
        """First row, mask and values of each batch."""
        layout, arrays = flatten(self.model)
        conditions, seed = self.model.conditions, self.seed

        @jax.jit
        def run(arrays: Mapping[str, Array], batch: Mapping[str, Array], first: Array) -> Values:
            module = merge(layout, arrays)
            module.eval()
            given = {name: batch[name] for name in conditions}
            return function(module, batch["x"], RowRngs(jax.random.key(seed), first), given)

        size = min(BATCH, len(self.source))
        for i, batch in enumerate(batches(self.source, size)):
            yield i * size, batch["mask"], jax.device_get(run(arrays, batch, i * size))
