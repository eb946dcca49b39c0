"""`artifex show MODEL`: what a model is."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
from collections.abc import Sequence
from typing import Any

from artifex.core.config import Config, field_types
from artifex.core.registry import load_target, registry


def run(argv: Sequence[str]) -> int:
    """Print the record of a model, its config with defaults, and the equations of its module."""
    parser = argparse.ArgumentParser("artifex show", description="What a model is.", epilog="example: artifex show vae")
    parser.add_argument("name", help="a model; see artifex list-models")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    found = registry.get(arguments.name)
    record = found.record
    config = load_target(record.config)
    fields = {
        name: {"type": _kind(kind), "default": _default(config, name)} for name, kind in field_types(config).items()
    }
    if arguments.json:
        about = {**record._asdict(), "distribution": found.distribution, "version": found.version}
        print(json.dumps({"schema": 1, **about, "fields": fields}))
        return 0
    print(f"{record.name}  {record.summary}\n{record.paper} ({record.year})\n{found.distribution} {found.version}")
    print(
        f"modalities    {', '.join(record.modalities) or '-'}\ncapabilities  {', '.join(record.capabilities) or '-'}\n"
    )
    print(f"{config.__name__}")
    for name, about in fields.items():
        print(f"  {name:<16} {about['type']:<48} {json.dumps(about['default'])}")
    print(f"\n{(importlib.import_module(record.model.partition(':')[0]).__doc__ or '').strip()}")
    return 0


def _kind(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "").split("artifex.")[-1]


def _default(config: Any, name: str) -> Any:
    """A field's default as a file holds it; None where it has none."""
    field = next(f for f in dataclasses.fields(config) if f.name == name)
    if field.default_factory is not dataclasses.MISSING:
        made = field.default_factory()
    else:
        made = None if field.default is dataclasses.MISSING else field.default
    if isinstance(made, tuple):
        return list(made)
    return made.to_dict() if isinstance(made, Config) else made
