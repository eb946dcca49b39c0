"""What artifex-diffusion brings."""

from __future__ import annotations

from artifex.core.plugins import ModelRecord, PluginInfo, hookimpl

PLUGIN = PluginInfo(api=(1, 0), summary="diffusion models")


def _record(name: str, classes: str, summary: str, paper: str, year: int, *capabilities: str) -> ModelRecord:
    module = f"artifex.diffusion.{name}"
    return ModelRecord(
        name=name,
        family="diffusion",
        model=f"{module}:{classes}",
        config=f"{module}:{classes}Config",
        summary=summary,
        paper=paper,
        year=year,
        example=f"artifex.diffusion.examples:{name}",
        modalities=("image", "tabular"),
        capabilities=capabilities,
    )


@hookimpl
def register_models() -> tuple[ModelRecord, ...]:
    """The variants, in order of year."""
    return ()
