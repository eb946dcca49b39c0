"""CPU time of `artifex list-models` with 200 more distributions installed, beside a child that imports what it needs.

    python benchmarks/list_models.py

The gate of the design: 150 ms, and 1.6 times the imports. The tests count files and calls instead of time.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

IMPORTS = "import argparse, difflib, importlib.metadata, pluggy"
LIST = "import _artifex_cli, sys; sys.argv = ['artifex', 'list-models']; _artifex_cli.main()"
ROUNDS = 15


def cpu_ms(code: str, path: str) -> float:
    """CPU milliseconds of a child that runs `code`."""
    env = {**os.environ, "PYTHONPATH": path}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def install(n: int, site: Path) -> None:
    """The metadata of `n` distributions that bring nothing."""
    for i in range(n):
        folder = site / f"fake_{i}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fake-{i}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[console_scripts]\nfake{i} = fake{i}:main\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as site:
        install(200, Path(site))
        rounds = [(cpu_ms(IMPORTS, site), cpu_ms(LIST, site)) for _ in range(ROUNDS)]  # interleaved
    imports, listing = (min(column) for column in zip(*rounds, strict=True))
    print(f"Python {sys.version.split()[0]}, 200 distributions more, least of {ROUNDS}, CPU ms")
    print(f"  its imports {imports:.0f}, list-models {listing:.0f}, ratio {listing / imports:.2f}")


if __name__ == "__main__":
    main()
