"""Config files: YAML, TOML and JSON to plain values with the line of each, and back.

YAML is read by the safe loader, and only up to a size that no config reaches: a short file whose aliases multiply would
otherwise fill the memory of whoever walks it.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from artifex.core.errors import ConfigError

MOST_BYTES = 2**20
MOST_NODES = 100_000
MOST_DEPTH = 50
MOST_ALIASES = 100


class ConfigText(NamedTuple):
    """What a file says, and where."""

    tree: dict[str, Any]
    positions: dict[str, str]  # `file:line` by path; empty for TOML and JSON


def read_config(path: str | Path) -> ConfigText:
    """The content of a config file.

    Raises:
        ConfigError: the file is missing, too large, or not what its name says.
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: expected a config file, got {error.strerror or error}. Check the path.") from error
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{file}: expected at most {MOST_BYTES} bytes, got {len(content)}. A config holds no data.")
    readers = {".yaml": _read_yaml, ".yml": _read_yaml, ".toml": _read_toml, ".json": _read_json}
    if file.suffix not in readers:
        raise ConfigError(f"{file}: expected a .yaml, .toml or .json file, got {file.suffix!r}. Rename it.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: expected UTF-8 text, got {error.reason} at byte {error.start}.") from error
    tree, positions = readers[file.suffix](text, file)
    if not isinstance(tree, dict) or not tree:
        raise ConfigError(
            f"{file}: expected sections like 'model:' and 'data:', got {'nothing' if not tree else 'a list or value'}."
        )
    return ConfigText(tree, positions)


def write_config(tree: Mapping[str, Any], path: str | Path) -> None:
    """Write plain values as YAML, whole or not at all."""
    import yaml

    text = yaml.safe_dump(json.loads(json.dumps(tree)), sort_keys=False, default_flow_style=None, width=100)
    draft = Path(path).with_name(f".{Path(path).name}.draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


def _read_toml(text: str, file: Path) -> tuple[Any, dict[str, str]]:
    try:
        return tomllib.loads(text), {}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: expected TOML, got {error}.") from error


def _read_json(text: str, file: Path) -> tuple[Any, dict[str, str]]:
    try:
        return json.loads(text), {}
    except ValueError as error:
        raise ConfigError(f"{file}: expected JSON, got {error}.") from error


def _read_yaml(text: str, file: Path) -> tuple[Any, dict[str, str]]:
    import yaml

    if text.count("*") > 0 and sum(isinstance(token, yaml.AliasToken) for token in _tokens(text, file)) > MOST_ALIASES:
        raise ConfigError(f"{file}: expected at most {MOST_ALIASES} aliases, got more. Write the values out.")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        positions = {} if node is None else dict(_walk(node, file))
        return yaml.load(text, Loader=yaml.SafeLoader), positions
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        reason = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise ConfigError(f"{where}: expected plain YAML, got {reason}.") from error


def _tokens(text: str, file: Path) -> Iterator[Any]:
    import yaml

    try:
        yield from yaml.scan(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: expected plain YAML, got {str(error).splitlines()[0]}.") from error


def _walk(root: Any, file: Path) -> Iterator[tuple[str, str]]:
    """The line of every value, by path; refuses what is too deep, too many, or said twice."""
    import yaml

    waiting = [(root, "config", 0)]
    visited = 0
    while waiting:
        node, path, depth = waiting.pop()
        visited += 1
        if visited > MOST_NODES or depth > MOST_DEPTH:
            limit = f"{MOST_NODES} values" if visited > MOST_NODES else f"{MOST_DEPTH} levels"
            raise ConfigError(f"{file}: expected at most {limit}, got more. Aliases may multiply them.")
        yield path, f"{file}:{node.start_mark.line + 1}"
        if isinstance(node, yaml.MappingNode):
            _refuse_twice([key.value for key, _ in node.value], node, file)
            waiting += [(value, f"{path}.{key.value}", depth + 1) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(value, f"{path}[{i}]", depth + 1) for i, value in enumerate(node.value)]


def _refuse_twice(keys: Sequence[Any], node: Any, file: Path) -> None:
    seen: set[str] = set()
    for key in map(str, keys):
        if key in seen:
            raise ConfigError(f"{file}:{node.start_mark.line + 1}: expected each key once, got {key!r} twice.")
        seen.add(key)
