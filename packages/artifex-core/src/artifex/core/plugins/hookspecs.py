"""What a plugin can bring: one hook for each kind of thing, all returning lazy records.

    from artifex.core.plugins import ModelRecord, PluginInfo, hookimpl

    PLUGIN = PluginInfo(api=(1, 0), summary="one line")

    @hookimpl
    def register_models():
        return [ModelRecord(name="mine", model="artifex.mine.model:Mine", ...)]

Hooks are called when the plugins are looked up, so they import nothing heavy and read no files.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from artifex.core.plugins.records import CommandRecord, ModelRecord, ShardingRule, TargetRecord

hookspec = pluggy.HookspecMarker("artifex")
hookimpl = pluggy.HookimplMarker("artifex")

RECORD_TYPES: dict[str, type] = {  # what `register_KIND` returns
    "models": ModelRecord,
    "modalities": TargetRecord,
    "adapters": TargetRecord,
    "metrics": TargetRecord,
    "datasets": TargetRecord,
    "extensions": TargetRecord,
    "callbacks": TargetRecord,
    "benchmarks": TargetRecord,
    "sharding_rules": ShardingRule,
    "exporters": TargetRecord,
    "commands": CommandRecord,
}


@hookspec
def register_models() -> Iterable[ModelRecord]:  # pyright: ignore[reportReturnType]
    """Generative models."""


@hookspec
def register_modalities() -> Iterable[TargetRecord]:  # pyright: ignore[reportReturnType]
    """Kinds of data."""


@hookspec
def register_adapters() -> Iterable[TargetRecord]:  # pyright: ignore[reportReturnType]
    """What fits a model to a modality."""


@hookspec
def register_metrics() -> Iterable[TargetRecord]:  # pyright: ignore[reportReturnType]
    """Functions that make a metric."""


@hookspec
def register_datasets() -> Iterable[TargetRecord]:  # pyright: ignore[reportReturnType]
    """Functions `(split, **options) -> Source`."""


@hookspec
def register_extensions() -> Iterable[TargetRecord]:  # pyright: ignore[reportReturnType]
    """Model extensions."""


@hookspec
def register_callbacks() -> Iterable[TargetRecord]:  # pyright: ignore[reportReturnType]
    """Training callbacks."""


@hookspec
def register_benchmarks() -> Iterable[TargetRecord]:  # pyright: ignore[reportReturnType]
    """Benchmarks."""


@hookspec
def register_sharding_rules() -> Iterable[ShardingRule]:  # pyright: ignore[reportReturnType]
    """Where parameters lie on a mesh."""


@hookspec
def register_exporters() -> Iterable[TargetRecord]:  # pyright: ignore[reportReturnType]
    """Formats that a model can be exported to."""


@hookspec
def register_commands() -> Iterable[CommandRecord]:  # pyright: ignore[reportReturnType]
    """Commands of the `artifex` program."""
