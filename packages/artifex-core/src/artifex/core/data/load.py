"""Data sets by name: `digits`, or `{"type": "digits", "binarise": "threshold"}`.

A data set is a function of plugins, `loader(split, *, option=default, …) -> Source`. Its signature is its config: names
and types of the options are checked, all mistakes at once, before anything is read.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from artifex.core.config import Config
from artifex.core.convert import convert
from artifex.core.data.source import Source
from artifex.core.errors import ConfigError, PluginConflict, did_you_mean
from artifex.core.plugins.loader import records
from artifex.core.plugins.records import TargetRecord
from artifex.core.registry import load_target

Loader = Callable[..., Source]


def load_dataset(data: str | Mapping[str, Any], split: str = "train") -> Source:
    """A split of a data set, by its name or a mapping with its `type` and options.

    Raises:
        ConfigError: no such data set, split or options, each named; or files that cannot be read.
        PluginConflict: two distributions claim the name.
    """
    return read_dataset(data)(split)


def read_dataset(data: Any, *, positions: Mapping[str, str] | None = None) -> Callable[[str], Source]:
    """The loader that a name or a mapping describes, its options checked and filled in; nothing is read yet.

    Args:
        positions: `file:line` by path, put in front of each problem.
    """
    tree = dict(data) if isinstance(data, Mapping) else {"type": data}
    loader = load_target(dataset_record(tree.pop("type", None)).target)
    options = convert(options_config(loader), tree, path="config.data", positions=positions)
    return functools.partial(loader, **{name: getattr(options, name) for name in tree})


def dataset_record(name: Any) -> TargetRecord:
    """The record of the data set called `name` or `dist:name`; errors as `load_dataset`."""
    return choose(name, [(plugin.distribution, record) for plugin, record in records("datasets")])


def choose(name: Any, known: Sequence[tuple[str, TargetRecord]]) -> TargetRecord:
    """The one record with this name, of records each with its distribution."""
    distribution, _, bare = str(name).rpartition(":")
    found = [(owner, r) for owner, r in known if r.name == bare and distribution in ("", owner)]
    if not found:
        raise ConfigError(
            f"config.data: expected the name of a data set, got {name!r}."
            f"{did_you_mean(bare, [record.name for _, record in known])} Run 'artifex list-datasets' for the list."
        )
    if len(found) > 1:
        owners = [owner for owner, _ in found]
        raise PluginConflict(
            f"config.data: expected one distribution with a data set {name!r}, got {' and '.join(owners)}. "
            f"Write {owners[0]}:{bare} or {owners[1]}:{bare}."
        )
    return found[0][1]


@functools.cache
def options_config(loader: Loader) -> type[Config]:
    """A loader's options as a config class that bears its name."""
    kinds = typing.get_type_hints(loader)
    fields: list[Any] = []
    for name, option in inspect.signature(loader).parameters.items():
        if name == "split" or option.kind is option.VAR_KEYWORD:
            continue
        default = {} if option.default is option.empty else {"default": option.default}
        fields.append((name, kinds.get(name, Any), dataclasses.field(**default)))
    return dataclasses.make_dataclass(loader.__name__, fields, bases=(Config,), frozen=True, kw_only=True)
