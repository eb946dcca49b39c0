"""Evaluation of a model on held-out data.

    per-example metrics   what the model's protocols bring: see `scoring`
    set metrics           compare features of data with features of samples: any model
Features are extracted once and feed every metric. What is left out is listed with its reason.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.source import ArraySource, Source, as_source, batches, content_digest
from artifex.core.evaluation.extractor import Extractor, pixels
from artifex.core.evaluation.metric import Metric, MetricValue, TooFewRows
from artifex.core.evaluation.registry import MetricsRegistry
from artifex.core.evaluation.result import EvaluationResult, Result
from artifex.core.evaluation.scoring import BATCH, PER_EXAMPLE, Scorer, Scoring
from artifex.core.leaves import as_plain, flatten, merge
from artifex.core.model import GenerativeModel
from artifex.core.protocols import Autoencoder

__all__ = ["EvaluationPipeline", "EvaluationResult", "Result", "Scorer"]

DISTRIBUTION = ("FD", "KD", "energy", "precision", "recall", "density", "coverage")
MOST_SAMPLES = 2000  # by default, and no more than there are data
SHOWN = 16  # reconstructions that are kept
PACKAGES = ("artifex-core", "jax", "flax", "numpy")


class EvaluationPipeline:
    """Metrics of a model on data.

    Args:
        metrics: names, or "auto" for all that apply.
        extractors: of features; pixels when empty.
        n_samples: drawn from the model; as many as there are data, at most 2,000, when None.
        mesh: the model's arrays are used where they lie; its axes stand in the provenance.
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
        if n_samples is not None and n_samples < 1:
            raise ValueError(
                f"EvaluationPipeline: expected n_samples >= 1, got {n_samples}. Use None for as many as data."
            )
        self.metrics, self.extractors = metrics, tuple(extractors) or (pixels,)
        self.n_samples, self.seed, self.mesh, self.ledger = n_samples, seed, mesh, ledger
        self.registry = MetricsRegistry()

    def evaluate(self, model: GenerativeModel, data: Any, modality: Any = None) -> EvaluationResult:
        """Every metric that applies.

        Args:
            modality: adds the metrics that its field reports.

        Raises:
            LookupError: a metric that was asked for is not known.
            ValueError: the model's values or features are not finite.
        """
        source = settled(as_source(data), self.seed)
        label = f"{source.name}@{source.digest[:12]}"
        wanted = self._wanted(modality)
        results, skipped = Scoring(model, source, label, self.seed).results(wanted)
        chosen = [name for name in wanted if name not in PER_EXAMPLE]
        samples = self.draw(model, source) if chosen else None
        if samples is not None:
            for extractor in self.extractors:
                found, left = Comparing(source, samples, extractor, label).results(chosen, self.registry)
                results, skipped = results + found, skipped + left
        about = self._provenance(model, source, samples) | {"data": label}
        spec = source.spec
        span = (0.0 if spec.low is None else spec.low, 1.0 if spec.high is None else spec.high)
        shown = reconstructions(model, source)
        result = EvaluationResult(tuple(results), tuple(skipped), about, samples, shown, span)
        if self.ledger is not None:
            self.ledger.add(result)
        return result

    def draw(self, model: GenerativeModel, source: Source) -> Float[np.ndarray, "n *event"]:
        """Samples of the model, with the conditions of the data where it needs some."""
        n = self.n_samples or min(len(source), MOST_SAMPLES)
        rows = source.take(np.arange(n) % len(source))
        conditions = {name: rows[name] for name in model.conditions}
        return np.asarray(model.sample(n, rngs=nnx.Rngs(self.seed), batch_size=min(n, BATCH), **conditions))

    def _wanted(self, modality: Any) -> tuple[str, ...]:
        if self.metrics != "auto":
            for name in self.metrics:
                self.registry.get(name)
            return tuple(self.metrics)
        more = () if modality is None else modality.metrics()
        known = (name for name in (*PER_EXAMPLE, *DISTRIBUTION) if name in self.registry.names())
        return tuple(dict.fromkeys((*known, *more)))

    def _provenance(self, model: GenerativeModel, source: Source, samples: np.ndarray | None) -> dict[str, Any]:
        """What was evaluated, and with what."""
        return {
            "model": type(model).__name__,
            "config": model.config.to_dict(),
            "weights": weights_digest(model)[:16],
            "n": len(source),
            "n_samples": 0 if samples is None else len(samples),
            "seed": self.seed,
            "mesh": None if self.mesh is None else dict(self.mesh.shape),
            "versions": {"python": platform.python_version()}
            | {name: importlib.metadata.version(name) for name in PACKAGES},
        }


class Comparing(NamedTuple):
    """Data and samples seen through one extractor."""

    source: Source
    samples: np.ndarray
    extractor: Extractor
    label: str  # of the data, in results

    def results(self, names: Sequence[str], registry: MetricsRegistry) -> tuple[list[Result], list[tuple[str, str]]]:
        """Values of set metrics, and those left out with the reason."""
        found: list[Result] = []
        skipped: list[tuple[str, str]] = []
        real = np.concatenate(
            [self.extractor.features(b["x"][b["mask"] > 0]) for b in batches(self.source, min(BATCH, len(self.source)))]
        )
        fake = self.extractor.features(self.samples)
        params = (("n_samples", len(fake)), ("extractor_version", self.extractor.version))
        for name in names:
            metric, label = registry.get(name), f"{name}[{self.extractor.key}]"
            if missing := metric.needs - {"real", "fake"}:
                skipped.append((label, f"needs {', '.join(sorted(missing))}"))
                continue
            try:
                result = Result.of(label, _value(metric, real, fake), metric, self.label)
                found.append(result._replace(extractor=self.extractor.key, params=params))
            except TooFewRows as reason:
                skipped.append((label, str(reason)))
        return found, skipped


def _value(metric: Metric, real: np.ndarray, fake: np.ndarray) -> MetricValue:
    state = metric.init()
    for side, rows in (("real", real), ("fake", fake)):
        state = metric.update(state, {side: rows, "index": np.arange(len(rows))}, np.ones(len(rows)))
    return metric.compute(state)


def settled(source: Source, seed: int) -> Source:
    """The source itself; where its noise is drawn anew in each step, one fixed draw of it."""
    if source.transform is None:
        return source
    draw = jax.jit(source.transform)
    parts = []
    for i, batch in enumerate(batches(source, min(BATCH, len(source)))):
        real = batch.pop("mask") > 0
        drawn = draw(batch, jax.random.fold_in(jax.random.key(seed), i))
        parts.append({name: np.asarray(values)[real] for name, values in drawn.items()})
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return ArraySource(arrays, source.spec, name=source.name)


def weights_digest(model: GenerativeModel) -> str:
    """SHA-256 over the names and values of a model's arrays."""
    arrays: Mapping[str, Array] = flatten(model)[1]
    return content_digest({path: np.asarray(as_plain(array)) for path, array in arrays.items()})


def reconstructions(model: GenerativeModel, source: Source) -> tuple[np.ndarray, np.ndarray] | None:
    """A few examples and what an autoencoder makes of them."""
    if not isinstance(model, Autoencoder):
        return None
    x = source.take(np.arange(min(SHOWN, len(source))))["x"]
    layout, arrays = flatten(model)

    def both(arrays: Any, x: Array) -> Array:
        module = merge(layout, arrays)
        module.eval()
        return module.decode(module.encode(x))

    return x, np.asarray(jax.jit(both)(arrays, x))
