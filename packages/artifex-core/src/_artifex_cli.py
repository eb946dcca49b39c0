"""The console script, outside the namespace, so that it can say who broke the namespace.

`artifex` is a namespace package: no distribution may put an `__init__.py` there. One that does hides every package of
ours. `find_spec` sees it without running it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys


def main() -> int:
    """Run the program, unless a foreign `artifex/__init__.py` is in the way."""
    spec = importlib.util.find_spec("artifex")
    if spec is not None and spec.origin is not None:
        print(
            f"artifex: expected the namespace 'artifex' without an __init__.py, got {spec.origin} of {_owner()}. "
            "Uninstall that distribution, then reinstall artifex-core.",
            file=sys.stderr,
        )
        return 3
    from artifex.core.cli.main import main as run

    return run()


def _owner() -> str:
    """The distribution that the foreign file belongs to."""
    for distribution in importlib.metadata.distributions():
        if any(str(file) == "artifex/__init__.py" for file in distribution.files or ()):
            return distribution.name
    return "an unknown distribution"
