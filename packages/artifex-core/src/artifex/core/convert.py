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
from typing import Any, Literal, NamedTuple, TypeVar

from artifex.core.config import Config, ModelConfig, config_members, field_types, freeze
from artifex.core.errors import ConfigError, PluginConflict, did_you_mean

C = TypeVar("C", bound=Config)

FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE | re.ASCII)
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
        path = self.path
        while path and path not in self.positions:  # what a file does not say stands where its section does
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        where = f"{self.positions[path]}: " if path else ""
        self.problems.append(f"{where}{self.path}: {text}")


MISSING = object()  # stands for a value that has been reported


def convert(cls: type[C], tree: Any, *, path: str = "config", positions: Mapping[str, str] | None = None) -> C:
    """The config of class `cls` that plain values describe.

    Args:
        positions: `file:line` by path, put in front of each problem.

    Raises:
        ConfigError: with a line for each mistake.
        PluginConflict: two distributions claim the model that is named.
        MissingDependency: the package of the model that is named is not installed.
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
    if not isinstance(tree, Mapping):
        place.report(f"expected the fields of {cls.__name__}, got {_shown(tree)}. Write 'name: value' lines.")
        return MISSING
    before = len(place.problems)
    kinds = field_types(cls)
    for name in tree:
        if name not in kinds:
            hint = did_you_mean(str(name), kinds).replace(" Did", "; did")
            text = hint or f". Fields: {', '.join(kinds) or 'none'}."
            place.at(str(name)).report(f"{cls.__name__} has no field {name!r}{text}")
    values = {name: _value(kinds[name], value, place.at(name)) for name, value in tree.items() if name in kinds}
    absent = [field.name for field in dataclasses.fields(cls) if _required(field) and field.name not in tree]
    for name in absent:
        place.at(name).report(f"{cls.__name__} expects a value for {name!r}, got none. Add it.")
    if absent or any(value is MISSING for value in values.values()):
        return MISSING
    made = _made(cls, values, place)  # beside an unknown field too: a bad value is a mistake of its own
    return made if len(place.problems) == before else MISSING


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _made(cls: type[Config], values: Mapping[str, Any], place: Place) -> Any:
    """The config, unless a check of its own refuses it; the text of the check is kept, at the field that it names."""
    try:
        return cls(**values)
    except ValueError as error:
        for text in error.problems if isinstance(error, ConfigError) else (str(error),):
            named = re.search(r"expected '(\w+)'", text)
            (place.at(named[1]) if named and named[1] in values else place).report(text)
    return MISSING


def _value(kind: Any, value: Any, place: Place) -> Any:
    """A value of type `kind`; MISSING after a report."""
    options = typing.get_args(kind) if typing.get_origin(kind) in UNIONS else (kind,)
    members = config_members(kind)
    others = [option for option in options if option not in (*members, type(None))]
    is_none = value is None and type(None) in options
    if members and not is_none and (not others or isinstance(value, Mapping | Config)):
        return _model(value, place) if ModelConfig in members else _member(members, value, place)
    if len(options) > 1:
        return _either(options, value, place)
    if typing.get_origin(kind) is tuple:
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
    if not isinstance(value, Mapping):
        names = " or ".join(member.__name__ for member in members)
        place.report(f"expected {names}, got {_shown(value)}. Give a mapping of its fields.")
        return MISSING
    if "type" in field_types(members[0]):
        return _config(members[0], value, place)
    tag = value.get("type", members[0].tag)
    if not isinstance(tag, str) or tag not in tags:
        place.at("type").report(f"expected one of {sorted(tags)}, got {tag!r}.{did_you_mean(str(tag), tags)}")
        return MISSING
    return _config(tags[tag], _without_type(value), place)


def _without_type(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tree.items() if name != "type"}


def _model(value: Any, place: Place) -> Any:
    """The config of a registered model, named by `type`."""
    if isinstance(value, ModelConfig):
        return value
    name = value.get("type") if isinstance(value, Mapping) else None
    if not isinstance(name, str):
        advice = "Run 'artifex list-models' for the names."
        place.report(f"expected a model as a mapping with its 'type', got {_shown(value)}. {advice}")
        return MISSING
    registry = importlib.import_module("artifex.core.registry")
    try:
        record = registry.model_record(name)
    except PluginConflict:
        raise  # a LookupError too, but with an exit code of its own
    except LookupError as error:
        place.at("type").report(str(error))
        return MISSING
    return _config(registry.load_target(record.config), _without_type(value), place)


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
    """A tuple, item by item; a mapping may fill a tuple of pairs."""
    if isinstance(value, Mapping) and kinds[1:] == (...,) and len(typing.get_args(kinds[0])) == 2:
        value = freeze(value)
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
    if kind is Any or (isinstance(kind, type) and type(value) is kind) or (kind is None and value is None):
        return value
    if typing.get_origin(kind) is Literal:
        return _choice(typing.get_args(kind), value)
    if kind is float and (type(value) is int or (isinstance(value, str) and FLOAT.fullmatch(value))):
        return _float(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(_choice([member.value for member in kind], value))
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if kind is tuple and isinstance(value, list):
        return freeze(value)
    if typing.get_origin(kind) is not None or kind in (list, dict, set):
        raise Mistake(f"expected a field that can be frozen, got one annotated {kind!r}. Annotate it tuple[...].")
    raise Mistake(f"expected {_kind_name(kind)}, got {_shown(value)}.{_quoting(value) if kind is str else ''}")


def _float(value: int | str) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise Mistake(f"expected a float, got {_shown(value)}, which is too large for one.") from error


def _choice(choices: Sequence[Any], value: Any) -> Any:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    shown = ", ".join(map(repr, choices))
    hint = _quoting(value) if any(isinstance(choice, str) for choice in choices) else ""
    hint = hint or did_you_mean(str(value), map(str, choices))
    raise Mistake(f"expected one of {shown}, got {_shown(value)}.{hint}")


def _quoting(value: Any) -> str:
    """What to do where YAML 1.1 read a word as a truth value, with a leading space."""
    return f' Quote it: "{"yes" if value else "no"}" unquoted means {value}.' if isinstance(value, bool) else ""


def _shown(value: Any) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _kind_name(kind: Any) -> str:
    names = {int: "an int", float: "a float", str: "text", bool: "true or false", type(None): "nothing", Path: "a path"}
    return names.get(kind) or str(getattr(kind, "__name__", kind))
