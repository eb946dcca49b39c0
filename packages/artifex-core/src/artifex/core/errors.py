"""What can go wrong, by the exit code that the command line gives it.

Every message has one shape, so that a reader finds the same three things in the same place:

    {Where}: expected {what}, got {value}. {What to do}.

| class              | is a         | exit code | meaning                                        |
|--------------------|--------------|-----------|------------------------------------------------|
| RunError           | RuntimeError | 1         | the run itself failed                          |
| ConfigError        | ValueError   | 2         | a config or an argument cannot be used         |
| PluginConflict     | LookupError  | 3         | two distributions claim one name               |
| MissingDependency  | ImportError  | 4         | a family or an optional package is missing     |
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RunError(RuntimeError):
    """A run failed for a reason that the message names."""


class ConfigError(ValueError):
    """A config cannot be used; `problems` holds one line per mistake."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class PluginConflict(LookupError):
    """Two distributions claim one name; `dist:name` chooses."""


class MissingDependency(ImportError):
    """Something that is needed is not installed; the message ends with its `pip install` line."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known name, with a leading space, or nothing at all."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
