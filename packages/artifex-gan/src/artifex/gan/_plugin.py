"""What artifex-gan brings."""

from __future__ import annotations

from artifex.core.plugins import ModelRecord, PluginInfo, hookimpl

PLUGIN = PluginInfo(api=(1, 0), summary="generative adversarial networks")


def _record(name: str, classes: str, summary: str, paper: str, year: int, *capabilities: str) -> ModelRecord:
    module = f"artifex.gan.{name}"
    return ModelRecord(
        name=name,
        family="gan",
        model=f"{module}:{classes}",
        config=f"{module}:{classes}Config",
        summary=summary,
        paper=paper,
        year=year,
        example=f"artifex.gan.examples:{name}",
        modalities=("image",),
        capabilities=capabilities,
    )


@hookimpl
def register_models() -> tuple[ModelRecord, ...]:
    """The variants, in order of year."""
    return ()
