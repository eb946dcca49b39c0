"""The root of every config: frozen, keyword-only dataclasses that convert to plain values and back.

    from_dict(to_dict(c)) == c        for every config c                                                        (1)
Lists become tuples and mappings become sorted tuples of pairs, so that a config can be hashed. A wrong type is refused
when the config is made, whether by a constructor call or from a file.

Configs that can stand for each other under one field carry a tag, `{"type": "conv", ...}` in a file:

    class ConvEncoderConfig(Config, tag="conv"): ...
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

DTypeName = Literal["float32", "float64", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """A set of values that belong together. Subclasses are `@dataclass(frozen=True, kw_only=True)` too."""

    tag: ClassVar[str] = "config"

    def __init_subclass__(cls, tag: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__.removesuffix("Config"))
        cls.tag = tag or words.lower()

    def __post_init__(self) -> None:
        """Check and freeze every field; a subclass with checks of its own calls this first."""
        convert().check_fields(self)
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, freeze(getattr(self, field.name)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a file holds them."""
        hints = field_types(type(self))
        return {name: _plain(getattr(self, name), hints[name]) for name in hints}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The config that plain values describe.

        Raises:
            ConfigError: with a line for each mistake.
        """
        return convert().convert(cls, tree)

    def replace(self, **changes: Any) -> Self:
        """This config with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class BaseConfig(Config):
    """A config of something that computes."""

    dtype: DTypeName = "float32"  # of the parameters


@dataclass(frozen=True, kw_only=True)
class ModelConfig(BaseConfig):
    """What a registered model is built from.

    `training` says how to train it, in the words of `TrainerConfig`: as its paper does, or as small networks bear it in
    few steps; what it leaves out is as the trainer has it.
    """

    training: ClassVar[dict[str, Any]] = {}

    @classmethod
    def for_data(cls, spec: Any, n: int) -> Self:
        """A config to start from, for `n` training examples of this `DataSpec`: small networks of the right shape.

        Here it is the default. What does not suit the model at all is left to its `check_data`.
        """
        return cls()


def convert() -> Any:
    """The converter, by name because it knows this module."""
    return importlib.import_module("artifex.core.convert")


@functools.cache
def field_types(cls: type[Config]) -> dict[str, Any]:
    """The types of a config's fields, in order.

    Raises:
        TypeError: the class is no dataclass of its own, so that its fields would be overlooked.
    """
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    shared = [name for name, kind in hints.items() if ClassVar in (kind, typing.get_origin(kind))]
    overlooked = [name for name in cls.__annotations__ if name not in (*names, *shared)]
    if overlooked:
        raise TypeError(
            f"{cls.__name__}: expected a dataclass with a field {overlooked[0]!r}, got a plain class. "
            "Write @dataclass(frozen=True, kw_only=True) above it."
        )
    return {name: hints[name] for name in names}


def config_members(kind: Any) -> tuple[type[Config], ...]:
    """The config classes that a field's type allows, in order."""
    members = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    return tuple(member for member in members if isinstance(member, type) and issubclass(member, Config))


def freeze(value: Any) -> Any:
    """Lists as tuples and mappings as sorted tuples of pairs, to any depth."""
    if isinstance(value, Mapping):
        pairs = cast(Mapping[Any, Any], value).items()
        return tuple(sorted(((key, freeze(item)) for key, item in pairs), key=lambda pair: str(pair[0])))
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in cast(tuple[Any, ...], value))
    return value


def _plain(value: Any, kind: Any) -> Any:
    """A field's value as a file holds it; a config gets its `type` where the field allows several."""
    if isinstance(value, Config):
        return _type_of(value, kind) | value.to_dict()
    if isinstance(value, tuple):
        items = cast(tuple[Any, ...], value)
        inner = next((a for a in (kind, *typing.get_args(kind)) if typing.get_origin(a) is tuple), None)
        parts = typing.get_args(inner) if inner is not None else ()
        same = not parts or len(parts) != len(items) or parts[-1] is Ellipsis
        return [_plain(item, (parts[0] if parts else Any) if same else parts[i]) for i, item in enumerate(items)]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _type_of(value: Config, kind: Any) -> dict[str, str]:
    members = config_members(kind)
    if ModelConfig in members:
        record = importlib.import_module("artifex.core.registry").record_of(value)
        return {} if record is None else {"type": record.name}
    return {"type": value.tag} if len(members) > 1 else {}
