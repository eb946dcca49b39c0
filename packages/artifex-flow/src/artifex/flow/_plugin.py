"""What artifex-flow brings."""

from __future__ import annotations

from artifex.core.plugins import ModelRecord, PluginInfo, hookimpl

PLUGIN = PluginInfo(api=(1, 0), summary="normalizing flows")


def _record(name: str, classes: str, summary: str, paper: str, year: int, *capabilities: str) -> ModelRecord:
    module = f"artifex.flow.{name}"
    return ModelRecord(
        name=name,
        family="flow",
        model=f"{module}:{classes}",
        config=f"{module}:{classes}Config",
        summary=summary,
        paper=paper,
        year=year,
        example=f"artifex.flow.examples:{name}",
        modalities=("image",) if name == "glow" else ("tabular",),
        capabilities=("likelihood", "bijective", *capabilities),
    )


@hookimpl
def register_models() -> tuple[ModelRecord, ...]:
    """The recipes, in order of year."""
    return (
    )  # fmt: skip
