"""`artifex show MODEL`: what a model is."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from artifex.core.cli.listing import table
from artifex.core.config import Config, field_types
from artifex.core.registry import Registered, load_target, registry, require

MODULE = re.compile(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Z])")


class Field(NamedTuple):
    """A field of a config."""

    type: str
    required: bool
    default: Any  # as a file holds it


def run(argv: Sequence[str]) -> int:
    """Print the record of a model, its config with defaults, and the equations of its module."""
    parser = argparse.ArgumentParser("artifex show", description="What a model is.", epilog="example: artifex show vae")
    parser.add_argument("name", help="a model, or DIST:NAME; see artifex list-models")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    found = registry.get(arguments.name)
    require(found.record)
    fields = fields_of(load_target(found.record.config))
    if arguments.json:
        about = {**found.record._asdict(), "distribution": found.distribution, "version": found.version}
        print(json.dumps({"schema": 1, **about, "fields": {name: f._asdict() for name, f in fields.items()}}))
    else:
        _print(found, fields)
    return 0


def fields_of(config: type[Config]) -> dict[str, Field]:
    """The fields of a config class, in order."""
    kinds = field_types(config)
    return {field.name: _field(field, kinds[field.name]) for field in dataclasses.fields(config)}


def _print(found: Registered, fields: dict[str, Field]) -> None:
    record = found.record
    print(f"{record.name}  {record.summary}\n{record.paper} ({record.year})\n{found.distribution} {found.version}")
    print(f"modalities    {', '.join(record.modalities) or '-'}")
    print(f"capabilities  {', '.join(record.capabilities) or '-'}\n\n{record.config.rpartition(':')[2]}")
    table(
        [
            (f"  {name}", "required" if field.required else json.dumps(field.default), field.type)
            for name, field in fields.items()
        ]
    )
    print(f"\n{(importlib.import_module(record.model.partition(':')[0]).__doc__ or '').strip()}")


def _field(field: dataclasses.Field[Any], kind: Any) -> Field:
    made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    name = kind.__name__ if isinstance(kind, type) else MODULE.sub("", str(kind))
    required = made is dataclasses.MISSING
    return Field(name, required, None if required else _plain(made))


def _plain(value: Any) -> Any:
    """A default as a file holds it."""
    if isinstance(value, Config):
        return {"type": value.tag, **value.to_dict()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
