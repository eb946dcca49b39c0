"""Plain values to configs: every mistake at once, each with its path, its value and the nearest right name.

    config.model.encoder.kernal: ConvEncoderConfig has no field 'kernal'; did you mean 'kernel'?

Nothing is bent into shape: 3.7 is no int, "10" is no int, and True is no int. An int may fill a float, and so may text
that reads as one, because YAML 1.1 takes 1e-4 for text.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple

from artifex.core.config import Config, ModelConfig, config_members, field_types
from artifex.core.errors import ConfigError, did_you_mean

FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?\.?(inf|nan)", re.IGNORECASE)
UNIONS = (typing.Union, types.UnionType)


class Mistake(Exception):
    """A value that does not fit; the message has no path yet."""


class Place(NamedTuple):
    """Where a value stands, and everywhere that something is wrong so far."""

    path: str
    problems: list[str]
    positions: Mapping[str, str]

    def at(self, name: str | int) -> Place:
        """The place of a field or an item."""
        return self._replace(path=f"{self.path}[{name}]" if isinstance(name, int) else f"{self.path}.{name}")

    def report(self, text: str) -> None:
        """Note a mistake here."""
        where = self.positions.get(self.path) or self.positions.get(self.path.rpartition(".")[0])
        self.problems.append(f"{where + ': ' if where else ''}{self.path}: {text}")


MISSING = object()  # stands for a value that has been reported


def convert(cls: type[Config], tree: Any, *, path: str = "config", positions: Mapping[str, str] | None = None) -> Any:
    """The config of class `cls` that plain values describe.

    Args:
        positions: `file:line` by path, put in front of each problem.

    Raises:
        ConfigError: with a line for each mistake.
    """
    place = Place(path, [], positions or {})
    made = _config(cls, tree, place)
    if place.problems:
        raise ConfigError(place.problems)
    return made


def check_fields(config: Config) -> None:
    """Check the fields of a config that is being made, and convert mappings where configs are expected.

    Raises:
        ConfigError: with a line for each field of a wrong type.
    """
    place = Place(type(config).__name__, [], {})
    for name, kind in field_types(type(config)).items():
        value = _value(kind, getattr(config, name), place.at(name))
        if value is not MISSING:
            object.__setattr__(config, name, value)
    if place.problems:
        raise ConfigError(place.problems)


def _config(cls: type[Config], tree: Any, place: Place) -> Any:
    """A config from a mapping; MISSING after a report."""
    tree = _mapping(tree)
    if tree is None:
        place.report(f"expected the fields of {cls.__name__} as a mapping. Write 'name: value' lines.")
        return MISSING
    before = len(place.problems)
    kinds = field_types(cls)
    for name in tree:
        if name not in kinds:
            hint = did_you_mean(str(name), kinds)
            text = f"; {hint.strip()[0].lower()}{hint.strip()[1:]}" if hint else f". Fields: {', '.join(kinds)}."
            place.at(str(name)).report(f"{cls.__name__} has no field {name!r}{text}")
    values = {name: _value(kinds[name], value, place.at(name)) for name, value in tree.items() if name in kinds}
    for field in dataclasses.fields(cls):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in tree:
            place.at(field.name).report(f"{cls.__name__} expects a value for {field.name!r}, got none. Add it.")
    if len(place.problems) > before:
        return MISSING
    try:
        return cls(**values)
    except ConfigError as error:
        place.problems.extend(error.problems)
    except ValueError as error:
        place.report(str(error))
    return MISSING


def _mapping(tree: Any) -> dict[str, Any] | None:
    """A mapping, also from the tuple of pairs that a frozen one is."""
    if isinstance(tree, Mapping):
        return dict(tree)
    pairs = isinstance(tree, tuple) and all(isinstance(item, tuple) and len(item) == 2 for item in tree)
    return dict(tree) if pairs and all(isinstance(item[0], str) for item in tree) else None


def _value(kind: Any, value: Any, place: Place) -> Any:
    """A value of type `kind`; MISSING after a report."""
    if kind is ModelConfig:
        return _model(value, place)
    members = config_members(kind)
    if members and not (value is None and type(None) in typing.get_args(kind)):
        return _member(members, value, place)
    origin = typing.get_origin(kind)
    if origin in UNIONS:
        return _either(typing.get_args(kind), value, place)
    if origin is tuple:
        return _tuple(typing.get_args(kind), value, place)
    try:
        return _scalar(kind, value)
    except Mistake as mistake:
        place.report(str(mistake))
        return MISSING


def _member(members: Sequence[type[Config]], value: Any, place: Place) -> Any:
    """A config of one of several classes, chosen by `type`."""
    if isinstance(value, tuple(members)):
        return value
    tags = {member.tag: member for member in members}
    if isinstance(value, str) and len(members) > 1:
        value = {"type": value}  # a bare tag is short for the defaults of that type
    tree = _mapping(value)
    if tree is None or isinstance(value, Config):
        names = " or ".join(member.__name__ for member in members)
        place.report(f"expected {names}, got {_shown(value)}. Give a mapping of its fields.")
        return MISSING
    if "type" in field_types(members[0]):
        return _config(members[0], tree, place)
    tag = tree.pop("type", members[0].tag)
    if tag not in tags:
        place.at("type").report(f"expected one of {sorted(tags)}, got {tag!r}.{did_you_mean(str(tag), tags)}")
        return MISSING
    return _config(tags[tag], tree, place)


def _model(value: Any, place: Place) -> Any:
    """The config of a registered model, named by `type`."""
    if isinstance(value, ModelConfig):
        return value
    tree = _mapping(value)
    if tree is None or not isinstance(tree.get("type"), str):
        place.report("expected a model as a mapping with its 'type'. Run 'artifex list-models' for the names.")
        return MISSING
    registry = importlib.import_module("artifex.core.registry")
    try:
        record = registry.model_record(tree.pop("type"))
    except LookupError as error:
        place.at("type").report(str(error))
        return MISSING
    return _config(registry.load_target(record.config), tree, place)


def _either(kinds: Sequence[Any], value: Any, place: Place) -> Any:
    """A value of one of several types; if of none, one line that names them all."""
    for kind in kinds:
        attempt = Place(place.path, [], {})
        made = _value(kind, value, attempt)
        if not attempt.problems:
            return made
    rest = [kind for kind in kinds if kind is not type(None)]
    if len(rest) == 1:
        return _value(rest[0], value, place)
    place.report(f"expected {' or '.join(map(_kind_name, kinds))}, got {_shown(value)}.")
    return MISSING


def _tuple(kinds: Sequence[Any], value: Any, place: Place) -> Any:
    """A tuple, item by item."""
    if not isinstance(value, list | tuple):
        place.report(f"expected a list, got {_shown(value)}. Write [...].")
        return MISSING
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = [kinds[0]] * len(value)
    if len(kinds) != len(value):
        place.report(f"expected {len(kinds)} values, got {len(value)}: {_shown(value)}.")
        return MISSING
    items = [_value(kind, item, place.at(i)) for i, (kind, item) in enumerate(zip(kinds, value, strict=True))]
    return MISSING if any(item is MISSING for item in items) else tuple(items)


def _scalar(kind: Any, value: Any) -> Any:
    """A value that is no container."""
    if kind is Any or (isinstance(kind, type) and type(value) is kind):
        return value
    if typing.get_origin(kind) is Literal:
        return _choice(typing.get_args(kind), value)
    if kind in (type(None), None):
        if value is None:
            return None
    elif (kind is float and type(value) is int) or (
        kind is float and isinstance(value, str) and FLOAT.fullmatch(value)
    ):
        return float(value)
    elif kind is str and isinstance(value, bool):
        raise Mistake(f'expected text, got {value}. Quote it: "{"yes" if value else "no"}" unquoted means {value}.')
    elif isinstance(kind, type) and issubclass(kind, Enum):
        return kind(_choice([member.value for member in kind], value.value if isinstance(value, Enum) else value))
    elif kind is Path and isinstance(value, str | Path):
        return Path(value)
    elif kind is tuple and isinstance(value, tuple):
        return value
    raise Mistake(f"expected {_kind_name(kind)}, got {_shown(value)}.")


def _choice(choices: Sequence[Any], value: Any) -> Any:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    shown = ", ".join(map(repr, choices))
    raise Mistake(f"expected one of {shown}, got {_shown(value)}.{did_you_mean(str(value), map(str, choices))}")


def _shown(value: Any) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _kind_name(kind: Any) -> str:
    names = {int: "an int", float: "a float", str: "text", bool: "true or false", type(None): "nothing", Path: "a path"}
    return names.get(kind) or str(getattr(kind, "__name__", kind))
