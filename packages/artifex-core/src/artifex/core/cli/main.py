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
import opcode
import os
import sys
from collections.abc import Sequence

from artifex.core.cli._table import COMMANDS
from artifex.core.errors import MissingDependency, PluginConflict, RunError, did_you_mean
from artifex.core.plugins.loader import block, records
from artifex.core.plugins.records import CommandRecord

RAISE = opcode.opmap["RAISE_VARARGS"]
USAGE = """\
usage: artifex [-p no:PLUGIN] COMMAND ...
       artifex COMMAND --help

Generative models on JAX.
"""
EXAMPLES = """\
options:
  -p no:PLUGIN     leave a plugin out, by its distribution or its entry point
  --version        the version of artifex-core

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
        code = _dispatch(words)
        sys.stdout.flush()  # here, where a reader that has gone is still an ordinary error
        return code
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
    except OSError as error:
        return _fail(
            f"{error.filename or words[0]}: expected to read and write here, got {error.strerror or error}.", 1
        )
    except (ValueError, TypeError, LookupError) as error:
        if not _is_refusal(error):
            raise
        return _fail(str(error), 2)


def _is_refusal(error: Exception) -> bool:
    """Whether a `raise` of ours refused something; any other error is a defect, and is shown whole."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    if where is None or not str(where.tb_frame.f_globals.get("__name__")).startswith("artifex."):
        return False
    # A call into C has no frame of its own, and jax hides its frames: only the instruction tells who raised.
    return where.tb_frame.f_code.co_code[where.tb_lasti] == RAISE


def _take_blocked(words: list[str]) -> list[str]:
    """Take `-p no:NAME` out of the words, and block those plugins."""
    rest: list[str] = []
    while words:
        word = words.pop(0)
        if word == "-p" and words and words[0].startswith("no:"):
            block(words.pop(0).removeprefix("no:"))
        else:
            rest.append(word)
    return rest


def _dispatch(words: list[str]) -> int:
    if not words:
        print(_help(), file=sys.stderr)
        return 2
    if words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        print(f"artifex {importlib.import_module('artifex.core').__version__}")
        return 0
    module, _, name = _find(words[0]).target.partition(":")
    return getattr(importlib.import_module(module), name)(words[1:])


def _find(name: str) -> CommandRecord:
    """The command called `name`, of core or of a plugin."""
    known = {command.name: command for command in COMMANDS}
    if name not in known:
        known = {record.name: record for _, record in records("commands")} | known
    if name not in known:
        raise ValueError(f"artifex: expected a command, got {name!r}.{did_you_mean(name, known)} See artifex --help.")
    return known[name]


def _help() -> str:
    commands = (*COMMANDS, *(record for _, record in records("commands")))
    lines = "\n".join(f"  {command.name:<16} {command.summary}" for command in commands)
    return f"{USAGE}\ncommands:\n{lines}\n\n{EXAMPLES}"


def _fail(text: str, code: int) -> int:
    for line in text.splitlines():
        print(line if line.startswith("artifex: ") else f"artifex: {line}", file=sys.stderr)
    return code
