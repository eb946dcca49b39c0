"""`artifex completion SHELL`: completion of commands, models and data sets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from artifex.core.cli._table import COMMANDS
from artifex.core.plugins.loader import records
from artifex.core.registry import list_models

BASH = """\
_artifex() {{
  local word=${{COMP_WORDS[COMP_CWORD]}}
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "{commands}" -- "$word")); return; fi
  if [ "${{COMP_WORDS[COMP_CWORD-1]}}" = --data ]; then COMPREPLY=($(compgen -W "{datasets}" -- "$word")); return; fi
  case ${{COMP_WORDS[1]}} in
    show|init|conformance) COMPREPLY=($(compgen -W "{models}" -- "$word"));;
    *) COMPREPLY=($(compgen -f -- "$word"));;
  esac
}}
complete -F _artifex artifex
"""
ZSH = """\
#compdef artifex
_artifex() {{
  if (( CURRENT == 2 )); then compadd {commands}; return; fi
  if [[ $words[CURRENT-1] == --data ]]; then compadd {datasets}; return; fi
  case $words[2] in
    show|init|conformance) compadd {models};;
    *) _files;;
  esac
}}
compdef _artifex artifex
"""
FISH = """\
complete -c artifex -n __fish_use_subcommand -f -a "{commands}"
complete -c artifex -n "__fish_seen_subcommand_from show init conformance" -f -a "{models}"
complete -c artifex -n "__fish_seen_subcommand_from init" -l data -f -a "{datasets}"
"""
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def run(argv: Sequence[str]) -> int:
    """Print the script for a shell."""
    parser = argparse.ArgumentParser(
        "artifex completion", description="Shell completion.", epilog='example: eval "$(artifex completion bash)"'
    )
    parser.add_argument("shell", choices=sorted(SHELLS))
    arguments = parser.parse_args(argv)
    names = {
        "commands": " ".join(command.name for command in (*COMMANDS, *(record for _, record in records("commands")))),
        "models": " ".join(sorted({model.name for model in list_models()})),
        "datasets": " ".join(sorted({record.name for _, record in records("datasets")})),
    }
    print(SHELLS[arguments.shell].format(**names), end="")
    return 0
