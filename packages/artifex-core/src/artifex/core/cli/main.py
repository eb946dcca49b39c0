"""The `artifex` program: reads one word, and leaves the rest to that command.

| exit code | meaning                                   |
|-----------|-------------------------------------------|
| 0         | done                                      |
| 1         | the run failed                            |
| 2         | usage or config                           |
| 3         | two plugins claim one name                |
| 4         | a family or a package is missing          |
| 130       | interrupted; a checkpoint was written     |
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from artifex.core.cli._table import COMMANDS, Command
from artifex.core.errors import MissingDependency, PluginConflict, RunError, did_you_mean
from artifex.core.plugins import loader

EXAMPLES = """\
examples:
  artifex list-models
  artifex init vae --data digits --out vae.yaml
  artifex train vae.yaml --set trainer.steps=2000 --out runs/a
  artifex evaluate runs/a
  artifex generate runs/a -n 16 --seed 0 --out samples.npz
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; its exit code."""
    words = _take_blocked(list(sys.argv[1:] if argv is None else argv))
    try:
        return _dispatch(words)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit does not flush into it again
        return 0
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "interrupted", 130)
    except PluginConflict as error:
        return _fail(str(error), 3)
    except MissingDependency as error:
        return _fail(str(error), 4)
    except RunError as error:
        return _fail(str(error), 1)
    except (ValueError, TypeError, LookupError) as error:
        return _fail(str(error) if not isinstance(error, KeyError) else repr(error), 2)


def _take_blocked(words: list[str]) -> list[str]:
    """Take `-p no:NAME` out of the words, and block those plugins."""
    rest: list[str] = []
    while words:
        word = words.pop(0)
        if word == "-p" and words and words[0].startswith("no:"):
            loader.blocked_names.add(words.pop(0).removeprefix("no:"))
        else:
            rest.append(word)
    return rest


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if words else 2
    if words[0] == "--version":
        print(f"artifex {importlib.import_module('artifex.core').__version__}")
        return 0
    command = _find(words[0])
    module, _, name = command.target.partition(":")
    return getattr(importlib.import_module(module), name)(words[1:])


def _find(name: str) -> Command:
    """The command called `name`, of core or of a plugin."""
    for command in COMMANDS:
        if command.name == name:
            return command
    commands = [Command(record.name, record.summary, record.target) for _, record in loader.records("commands")]
    for command in commands:
        if command.name == name:
            return command
    known = [command.name for command in (*COMMANDS, *commands)]
    raise ValueError(f"artifex: expected a command, got {name!r}.{did_you_mean(name, known)} See artifex --help.")


def _help() -> str:
    rows = [(command.name, command.summary) for command in COMMANDS]
    rows += [(record.name, record.summary) for _, record in loader.records("commands")]
    lines = "\n".join(f"  {name:<16} {summary}" for name, summary in rows)
    return f"usage: artifex COMMAND ...\n\nGenerative models on JAX.\n\ncommands:\n{lines}\n\n{EXAMPLES}"


def _fail(text: str, code: int) -> int:
    for line in text.splitlines():
        print(f"artifex: {line}", file=sys.stderr)
    return code
