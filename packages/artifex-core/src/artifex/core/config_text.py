"""Config files: YAML, TOML and JSON to plain values with the line of each, and back.

YAML is read by the safe loader, and only up to a size that no config reaches: a short file whose aliases multiply would
otherwise fill the memory of whoever walks it. What YAML 1.1 turns into something else stays what it was: a key is text
(`on:` is no True), a date is text, and `010` or `1:30`, which would be read as 8 and 90, are refused.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from artifex.core.errors import ConfigError

MOST_BYTES = 2**20
MOST_NODES = 100_000
MOST_DEPTH = 50
MOST_ALIASES = 100
YAML_TAG = "tag:yaml.org,2002:"
INTEGER = re.compile(r"[+-]?(0|[1-9][\d_]{0,999}|0x[\da-fA-F]{1,99}|0b[01]{1,99})")  # no octal 010, no sexagesimal 1:30


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
    text = _text(file)
    readers = {".yaml": _read_yaml, ".yml": _read_yaml, ".toml": _read_toml, ".json": _read_json}
    if file.suffix.lower() not in readers:
        raise ConfigError(f"{file}: expected a .yaml, .toml or .json file, got {file.suffix!r}. Rename it.")
    try:
        tree, positions = readers[file.suffix.lower()](text, file)
    except RecursionError:
        raise _too_much(file, f"{MOST_DEPTH} levels") from None
    if not isinstance(tree, dict) or not tree:
        got = "nothing" if tree in (None, {}) else "a list or value"
        raise ConfigError(
            f"{file}: expected sections like 'model:' and 'data:', got {got}. Run 'artifex init MODEL' for an example."
        )
    return ConfigText(_plain(tree, file), positions)


def write_config(tree: Mapping[str, Any], path: str | Path) -> None:
    """Write plain values as YAML, a line for each but for short lists; whole or not at all."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Mappings as lines, in their order."""

    Dumper.add_representer(dict, lambda d, v: d.represent_mapping(f"{YAML_TAG}map", v.items(), flow_style=False))
    plain = json.loads(json.dumps(tree))  # tuples as lists, and no aliases
    text = yaml.dump(plain, Dumper=Dumper, default_flow_style=None, allow_unicode=True, width=100)
    draft = Path(path).with_name(f".{Path(path).name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)  # a full disk leaves half of one


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: expected a config file, got {error.strerror or error}. Check the path.") from error
    if len(content) > MOST_BYTES:
        size = file.stat().st_size
        raise ConfigError(f"{file}: expected at most {MOST_BYTES} bytes, got {size}. A config holds no data.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: expected UTF-8 text, got {error.reason} at byte {error.start}. Save it as UTF-8."
        ) from error


def _plain(value: Any, file: Path, depth: int = 0) -> Any:
    """A copy in which nothing is shared, so that a change of one section is no change of another."""
    if depth > MOST_DEPTH:
        raise _too_much(file, f"{MOST_DEPTH} levels")
    if isinstance(value, dict):
        return {name: _plain(item, file, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, file, depth + 1) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)  # dates as text


def _too_much(file: Path, limit: str) -> ConfigError:
    return ConfigError(f"{file}: expected at most {limit}, got more. Write a smaller config; aliases may multiply it.")


def _read_toml(text: str, file: Path) -> tuple[Any, dict[str, str]]:
    try:
        return tomllib.loads(text), {}
    except ValueError as error:
        raise ConfigError(f"{file}: expected TOML, got what it cannot read ({error}). Mend it.") from error


def _read_json(text: str, file: Path) -> tuple[Any, dict[str, str]]:
    try:
        return json.loads(text, object_pairs_hook=_pairs_once), {}
    except ValueError as error:
        raise ConfigError(f"{file}: expected JSON, got what it cannot read ({error}). Mend it.") from error


def _pairs_once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} twice")
        found[name] = value
    return found


def _read_yaml(text: str, file: Path) -> tuple[Any, dict[str, str]]:
    import yaml

    try:
        _refuse_events(yaml.parse(text, Loader=yaml.SafeLoader), file)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        positions = dict(_walk(node, file))
        return loader.construct_document(node), positions
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        parts = [getattr(error, name, None) for name in ("context", "problem")]
        reason = ", ".join(part for part in parts if part) or str(error).splitlines()[0]
        raise ConfigError(f"{where}: expected YAML, got what it cannot read ({reason}). Mend it.") from error


def _refuse_events(events: Iterable[Any], file: Path) -> None:
    """Refuse what is too deep, too long or tagged while it is a flat stream: the tree is built by recursion."""
    import yaml

    depth = aliases = 0
    for number, event in enumerate(events):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        tag = getattr(event, "tag", None)
        if depth > MOST_DEPTH:
            raise _too_much(file, f"{MOST_DEPTH} levels")
        if number > 2 * MOST_NODES:
            raise _too_much(file, f"{MOST_NODES} values")
        if aliases > MOST_ALIASES:
            raise _too_much(file, f"{MOST_ALIASES} aliases")
        if tag not in (None, f"{YAML_TAG}str"):
            shown = tag.replace(YAML_TAG, "!!")
            raise _misread(event, file, "values without tags", f"the tag {shown!r}", "Remove the tag.")


def _misread(event: Any, file: Path, expected: str, got: str, advice: str) -> ConfigError:
    return ConfigError(f"{file}:{event.start_mark.line + 1}: expected {expected}, got {got}. {advice}")


def _walk(root: Any, file: Path) -> Iterator[tuple[str, str]]:
    """The line of every value, by path; refuses what aliases multiply."""
    import yaml

    waiting = [(root, root, "config", 0)]
    visited = 0
    while waiting:
        node, start, path, depth = waiting.pop()
        visited += 1
        if visited > MOST_NODES or depth > MOST_DEPTH:
            raise _too_much(file, f"{MOST_NODES} values" if visited > MOST_NODES else f"{MOST_DEPTH} levels")
        yield path, f"{file}:{start.start_mark.line + 1}"
        if isinstance(node, yaml.MappingNode):
            _read_keys(node, file)
            waiting += [(value, key, f"{path}.{key.value}", depth + 1) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(item, item, f"{path}[{i}]", depth + 1) for i, item in enumerate(node.value)]
        else:
            _read_value(node, file)


def _read_keys(node: Any, file: Path) -> None:
    """Make every key text; refuse one that is none, or said twice."""
    import yaml

    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _misread(key, file, "text as a key", "a list or mapping", "Write 'name: value'.")
        if key.value in seen:
            raise _misread(key, file, "each key once", f"{key.value!r} twice", "Remove one.")
        seen.add(key.value)
        if key.tag != f"{YAML_TAG}merge":
            key.tag = f"{YAML_TAG}str"


def _read_value(node: Any, file: Path) -> None:
    """Keep a date as text; refuse a number that YAML 1.1 reads in another base."""
    kind = node.tag.removeprefix(YAML_TAG)
    if kind == "timestamp":
        node.tag = f"{YAML_TAG}str"
    elif (kind == "int" and not INTEGER.fullmatch(node.value)) or (kind == "float" and ":" in node.value):
        raise _misread(node, file, "a number in base ten", f"{node.value:.40}", "Write it so, or quote it as text.")
