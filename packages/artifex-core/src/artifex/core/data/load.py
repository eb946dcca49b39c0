"""Data sets by name: `digits`, or `{"type": "digits", "binarise": "threshold"}`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from artifex.core.convert import FLOAT
from artifex.core.data.source import Source
from artifex.core.errors import ConfigError, PluginConflict, did_you_mean
from artifex.core.plugins.loader import records
from artifex.core.plugins.records import TargetRecord
from artifex.core.registry import load_target


def load_dataset(data: str | Mapping[str, Any], split: str = "train") -> Source:
    """A split of a data set.

    Raises:
        ConfigError: no such data set, or options that it does not take, each named.
    """
    options = {"type": data} if isinstance(data, str) else dict(data)
    name = options.pop("type", None)
    loader = load_target(dataset_record(name).target)
    _check_options(str(name), loader, options)
    return loader(split, **options)


def dataset_record(name: Any) -> TargetRecord:
    """The record of the data set called `name`."""
    found = {record.name: [] for _, record in records("datasets")}
    for plugin, record in records("datasets"):
        found[record.name].append((plugin.distribution, record))
    if name not in found:
        raise ConfigError(
            f"config.data: expected the name of a data set, got {name!r}.{did_you_mean(str(name), found)} "
            "Run 'artifex list-datasets' for the list."
        )
    if len(found[name]) > 1:
        owners = " and ".join(owner for owner, _ in found[name])
        raise PluginConflict(f"config.data: expected one distribution with a data set {name!r}, got {owners}.")
    return found[name][0][1]


def _check_options(name: str, loader: Any, options: Mapping[str, Any]) -> None:
    """Refuse options that the loader does not take, and name those that it needs."""
    known = {p.name: p for p in inspect.signature(loader).parameters.values() if p.kind is p.KEYWORD_ONLY}
    problems = [
        f"config.data.{option}: {name} has no option {option!r}.{did_you_mean(option, known)}"
        for option in options
        if option not in known
    ]
    problems += [
        f"config.data.{option}: {name} expects a value for {option!r}, got none. Add it."
        for option, parameter in known.items()
        if parameter.default is parameter.empty and option not in options
    ]
    problems += [
        f"config.data.{option}: expected {_kind(known[option].default)}, got {value!r} ({type(value).__name__})."
        for option, value in options.items()
        if option in known and not _fits(known[option].default, value)
    ]
    if problems:
        raise ConfigError(problems)


def _fits(default: Any, value: Any) -> bool:
    """Whether a value is of the kind of an option's default; options without one, or with None, check for themselves."""
    if default is inspect.Parameter.empty or default is None or type(value) is type(default):
        return True
    return isinstance(default, float) and (type(value) is int or (isinstance(value, str) and bool(FLOAT.fullmatch(value))))


def _kind(default: Any) -> str:
    return {bool: "true or false", int: "an int", float: "a float", str: "text"}.get(type(default), type(default).__name__)
