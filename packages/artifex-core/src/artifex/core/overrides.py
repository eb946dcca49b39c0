"""Changes to a config's plain values: `--set a.b=V`, differences, and the JSON schema of a config class."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple

from artifex.core.config import Config, ModelConfig, config_members, field_types
from artifex.core.errors import ConfigError


class Difference(NamedTuple):
    """A path at which two trees differ; None where one has nothing there."""

    path: str
    a: Any
    b: Any


def apply_overrides(tree: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The tree with `path=value` settings applied; a value is a TOML literal or else text.

    Setting a `type` drops the other fields beside it, because they belong to the old type.

    Raises:
        ConfigError: a setting is no `path=value`, or its path leads through a value that holds nothing.
    """
    result = copy.deepcopy(dict(tree))
    for setting in settings:
        path, sign, text = setting.partition("=")
        if not sign or not all(path.strip().split(".")):
            raise ConfigError(f"--set: expected PATH=VALUE, got {setting!r}. For example: --set model.latent_dim=8")
        *parents, last = path.strip().split(".")
        here: Any = result
        for i, name in enumerate(parents):
            if isinstance(here, dict) and isinstance(here.get(name), str):
                here[name] = {"type": here[name]}  # a bare name is short for {type: name}
            if isinstance(here, dict) and here.get(name) is None:
                here[name] = {}  # a section that is not there, or empty
            here = here[name] if isinstance(here, dict) else None
            if not isinstance(here, dict):
                raise ConfigError(f"--set {path}: expected a section at {'.'.join(parents[: i + 1])!r}, got a value.")
        if last == "type" and here.get("type") != literal(text):
            here.clear()
        here[last] = literal(text)
    return result


def literal(text: str) -> Any:
    """A TOML literal's value, or the text itself."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # no TOML, a number of thousands of digits, brackets without end
        return None if text.strip() in ("null", "none", "None") else text
    return text if isinstance(value, datetime.date | datetime.time) else value


def differences(a: Any, b: Any, path: str = "") -> Iterator[Difference]:
    """Where two trees differ, in order of path."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for name in sorted({*a, *b}):
            yield from differences(a.get(name), b.get(name), f"{path}.{name}" if path else name)
    elif a != b:
        yield Difference(path, a, b)


def json_schema(cls: type[Config]) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a config class."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": cls.__name__, **_object(cls)}


def _object(cls: type[Config], tag: str | None = None) -> dict[str, Any]:
    properties: dict[str, Any] = {} if tag is None else {"type": {"const": tag}}
    required = []
    for field in dataclasses.fields(cls):
        properties[field.name] = _schema(field_types(cls)[field.name])
        if field.default is not dataclasses.MISSING:
            properties[field.name] |= {"default": _json(field.default)}
        elif field.default_factory is dataclasses.MISSING:
            required.append(field.name)
    shape: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return shape | ({"required": required} if required else {})


def _schema(kind: Any) -> dict[str, Any]:
    if kind is ModelConfig:
        return {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]}
    members = config_members(kind)
    if members:
        options = [_object(member, member.tag if len(members) > 1 else None) for member in members]
        if type(None) in typing.get_args(kind):
            options.append({"type": "null"})
        return options[0] if len(options) == 1 else {"anyOf": options}
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(arg) for arg in args]}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return {"type": "array", "items": _schema(args[0])}
        return {
            "type": "array",
            "prefixItems": [_schema(arg) for arg in args],
            "minItems": len(args),
            "maxItems": len(args),
        }
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    names = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
    return {"type": names[kind]} if kind in names else {}


def _json(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.value if isinstance(value, Enum) else value
