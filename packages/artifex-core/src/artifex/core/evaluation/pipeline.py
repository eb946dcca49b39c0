"""Evaluation of a model on held-out data.

    Scorer, Likelihood   per-example values in nats (`elbo`, `log_prob`, …)
    Autoencoder          reconstruction error
    any model            distribution metrics between features of data and of samples
Features are extracted once and feed every metric. What is left out is listed with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.source import Source, as_source, batches
from artifex.core.evaluation.extractor import Extractor, pixels
from artifex.core.evaluation.likelihood import PerExample
from artifex.core.evaluation.metric import Metric, MetricValue
from artifex.core.evaluation.registry import MetricsRegistry
from artifex.core.leaves import flatten, merge
from artifex.core.model import GenerativeModel
from artifex.core.prob.noise import RowRngs
from artifex.core.protocols import Autoencoder, Likelihood

BATCH = 256
DISTRIBUTION = ("FD", "KD", "energy", "precision", "recall", "density", "coverage")
MOST_SAMPLES = 2000  # by default, and no more than there are data


@runtime_checkable
class Scorer(Protocol):
    """A model with per-example scores, higher is better."""

    def scores(self, x: Array, *, rngs: nnx.Rngs, **conditions: Array) -> Mapping[str, Float[Array, " batch"]]:
        """Values in nats, by name."""
        ...


class Result(NamedTuple):
    """One metric's value."""

    metric: str
    value: float
    ci_low: float
    ci_high: float
    n: int
    data: str
    extractor: str | None
    higher_is_better: bool
    version: int
    flags: tuple[str, ...] = ()


class EvaluationResult(NamedTuple):
    """All values, what was left out and why, and what was evaluated."""

    results: tuple[Result, ...]
    skipped: tuple[tuple[str, str], ...]
    provenance: Mapping[str, Any]
    samples: np.ndarray | None = None
    reconstructions: tuple[np.ndarray, np.ndarray] | None = None  # data and what the model makes of them


class EvaluationPipeline:
    """Metrics of a model on data.

    Args:
        metrics: names, or "auto" for all that apply.
        extractors: of features; pixels when empty.
        n_samples: drawn from the model; as many as there are data, at most 2,000, when None.
        mesh: where the model's arrays lie; they are used as they are placed when None.
        ledger: a `Ledger` that keeps the results.
    """

    def __init__(
        self,
        metrics: Sequence[str] | Literal["auto"] = "auto",
        *,
        extractors: Sequence[Extractor] = (),
        n_samples: int | None = None,
        seed: int = 0,
        mesh: Any = None,
        ledger: Any = None,
    ) -> None:
        self.metrics, self.extractors = metrics, tuple(extractors) or (pixels,)
        self.n_samples, self.seed, self.mesh, self.ledger = n_samples, seed, mesh, ledger

    def evaluate(self, model: GenerativeModel, data: Any, modality: Any = None) -> EvaluationResult:
        """Every metric that applies.

        Args:
            modality: adds the metrics that its field reports.

        Raises:
            LookupError: a metric that was asked for is not known.
        """
        source = as_source(data)
        name = f"{source.name}@{source.digest[:12]}"
        wanted = self._wanted(modality)
        results: list[Result] = []
        skipped: list[tuple[str, str]] = []
        for score, metric, state in self._scored(model, source, wanted, skipped):
            results.append(_result(score, metric.compute(state), metric, name, None))
        samples = None
        chosen = [metric for metric in DISTRIBUTION if metric in wanted] + [
            metric for metric in wanted if metric not in (*DISTRIBUTION, "scores", "reconstruction")
        ]
        if chosen:
            samples = self.draw(model, source)
            for extractor in self.extractors:
                results += self._compared(source, samples, extractor, chosen, skipped)
        provenance = {
            "model": type(model).__name__, "config": model.config.to_dict(), "data": name, "n": len(source),
            "n_samples": 0 if samples is None else len(samples), "seed": self.seed,
        }  # fmt: skip
        found = EvaluationResult(
            tuple(results), tuple(skipped), provenance, samples, self._reconstructed(model, source)
        )
        if self.ledger is not None:
            self.ledger.add(found)
        return found

    def draw(self, model: GenerativeModel, source: Source) -> np.ndarray:
        """Samples of the model, with the conditions of the data where it needs some."""
        n = self.n_samples or min(len(source), MOST_SAMPLES)
        rows = source.take(np.arange(n) % len(source))
        conditions = {name: rows[name] for name in model.conditions}
        return np.asarray(model.sample(n, rngs=nnx.Rngs(self.seed), batch_size=min(n, BATCH), **conditions))

    def _wanted(self, modality: Any) -> tuple[str, ...]:
        registry = MetricsRegistry()
        if self.metrics == "auto":
            more = () if modality is None else modality.metrics()
            return (*(name for name in registry.names() if name in (*DISTRIBUTION, "scores", "reconstruction")), *more)
        for name in self.metrics:
            registry.get(name)
        return tuple(self.metrics)

    def _scored(
        self, model: GenerativeModel, source: Source, wanted: Sequence[str], skipped: list[tuple[str, str]]
    ) -> Iterator[tuple[str, Metric, Any]]:
        """Per-example metrics with their states."""
        functions: list[tuple[Callable[..., Any], bool]] = []
        if "scores" in wanted and isinstance(model, Scorer):
            functions.append((_scores, True))
        elif "scores" in wanted and isinstance(model, Likelihood):
            functions.append((_log_prob, True))
        elif "scores" in wanted:
            skipped.append(("scores", f"{type(model).__name__} has no likelihood and no bound of one"))
        if "reconstruction" in wanted and isinstance(model, Autoencoder):
            functions.append((_reconstruction, False))
        elif "reconstruction" in wanted:
            skipped.append(("reconstruction", f"{type(model).__name__} is no autoencoder"))
        for function, higher in functions:
            states: dict[str, Any] = {}
            metrics: dict[str, Metric] = {}
            for first, batch, values in self._per_example(model, source, function):
                for score, column in values.items():
                    metric = metrics.setdefault(score, PerExample(score, higher_is_better=higher))
                    rows = {"values": np.asarray(column), "index": first + np.arange(len(column))}
                    states[score] = metric.update(states.get(score, metric.init()), rows, batch["mask"])
            yield from ((score, metrics[score], states[score]) for score in states)

    def _per_example(
        self, model: GenerativeModel, source: Source, function: Callable[..., Any]
    ) -> Iterator[tuple[int, Mapping[str, np.ndarray], Mapping[str, Array]]]:
        """A compiled function of the model, batch by batch."""
        layout, arrays = flatten(model)
        conditions = model.conditions

        @jax.jit
        def run(arrays: Any, batch: Any, first: Array) -> Mapping[str, Array]:
            module = merge(layout, arrays)
            module.eval()
            given = {name: batch[name] for name in conditions}
            return function(module, batch["x"], RowRngs(jax.random.key(self.seed), first), given)

        size = min(BATCH, len(source))
        for i, batch in enumerate(batches(source, size)):
            yield i * size, batch, jax.device_get(run(arrays, batch, i * size))

    def _compared(
        self,
        source: Source,
        samples: np.ndarray,
        extractor: Extractor,
        names: Sequence[str],
        skipped: list[tuple[str, str]],
    ) -> list[Result]:
        """Distribution metrics on the features of one extractor."""
        registry = MetricsRegistry()
        real = extractor.apply(source.take(np.arange(len(source)))["x"])
        fake = extractor.apply(samples)
        data, found = f"{source.name}@{source.digest[:12]}", []
        for name in names:
            metric = registry.get(name)
            label = f"{name}[{extractor.key}]"
            if len(real) < 20 or len(fake) < 20:
                skipped.append((label, f"needs 20 rows of data and samples, got {len(real)} and {len(fake)}"))
                continue
            state = metric.init()
            for side, rows in (("real", real), ("fake", fake)):
                state = metric.update(state, {side: rows, "index": np.arange(len(rows))}, np.ones(len(rows)))
            found.append(_result(label, metric.compute(state), metric, data, extractor.key))
        return found

    def _reconstructed(self, model: GenerativeModel, source: Source) -> tuple[np.ndarray, np.ndarray] | None:
        """A few examples and what the model makes of them."""
        if not isinstance(model, Autoencoder) or model.conditions:
            return None
        x = source.take(np.arange(min(16, len(source))))["x"]
        layout, arrays = flatten(model)

        def both(arrays: Any, x: Array) -> Array:
            module = merge(layout, arrays)
            module.eval()
            return module.decode(module.encode(x))

        return x, np.asarray(jax.jit(both)(arrays, x))


def _result(name: str, value: MetricValue, metric: Metric, data: str, extractor: str | None) -> Result:
    return Result(
        name, value.value, value.ci_low, value.ci_high, value.n, data, extractor, metric.higher_is_better,
        metric.version, value.flags,
    )  # fmt: skip


def _scores(model: Any, x: Array, rngs: nnx.Rngs, conditions: Mapping[str, Array]) -> Mapping[str, Array]:
    return model.scores(x, rngs=rngs, **conditions)


def _log_prob(model: Any, x: Array, rngs: nnx.Rngs, conditions: Mapping[str, Array]) -> Mapping[str, Array]:
    return {"log_prob": model.log_prob(x, **conditions)}


def _reconstruction(model: Any, x: Array, rngs: nnx.Rngs, conditions: Mapping[str, Array]) -> Mapping[str, Array]:
    return {"reconstruction": ((model.decode(model.encode(x)) - x) ** 2).reshape(len(x), -1).mean(-1)}
