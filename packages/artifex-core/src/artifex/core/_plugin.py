"""What core itself brings: data sets and metrics."""

from __future__ import annotations

from artifex.core.data.builtin import DATASETS
from artifex.core.evaluation.builtin import METRICS
from artifex.core.plugins import PluginInfo, TargetRecord, hookimpl

PLUGIN = PluginInfo(api=(1, 0), summary="data sets, metrics and callbacks of the core")

CALLBACKS = (
    TargetRecord("progress", "artifex.core.training.callbacks:ProgressBar", "a bar with the loss on stderr"),
    TargetRecord("tensorboard", "artifex.core.training.callbacks:TensorBoard", "rows as TensorBoard scalars"),
    TargetRecord("wandb", "artifex.core.training.callbacks:WandB", "rows in a Weights & Biases run"),
    TargetRecord("profile", "artifex.core.training.callbacks:Profile", "a profile of some steps"),
)


@hookimpl
def register_datasets() -> tuple[TargetRecord, ...]:
    """Data sets that need no other package."""
    return DATASETS


@hookimpl
def register_metrics() -> tuple[TargetRecord, ...]:
    """Metrics without an opinion about the kind of data."""
    return METRICS


@hookimpl
def register_callbacks() -> tuple[TargetRecord, ...]:
    """What may watch a run."""
    return CALLBACKS
