"""The console script, outside the namespace, so that it can say who broke the namespace.

`artifex` is a namespace package: no distribution may put an `__init__.py` there. One that does hides every package of
ours, and takes our files along when it is uninstalled. `find_spec` sees both without running the foreign code.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys


def main() -> int:
    """Run the program, unless a foreign `artifex/__init__.py` is in the way."""
    problem = broken_namespace()
    if problem:
        print(f"artifex: {problem}", file=sys.stderr)
        return 3
    from artifex.core.cli.main import main as run

    return run()


def broken_namespace() -> str:
    """What is wrong with the namespace, and what to do; empty if nothing is."""
    spec = importlib.util.find_spec("artifex")
    if spec is not None and spec.origin is not None:
        return (
            f"expected the namespace 'artifex' without an __init__.py, got {spec.origin} of {_owner()}. "
            "Uninstall that distribution, then reinstall artifex-core."
        )
    core = importlib.util.find_spec("artifex.core") if spec is not None else None
    if core is None or core.origin is None:
        return "expected artifex/core/__init__.py, got none: something has removed it. Reinstall artifex-core."
    return ""


def _owner() -> str:
    """The distribution that the foreign file belongs to."""
    for distribution in importlib.metadata.distributions():
        if any(file.as_posix() == "artifex/__init__.py" for file in distribution.files or ()):
            return distribution.name
    return "an unknown distribution"


if __name__ == "__main__":
    sys.exit(main())
