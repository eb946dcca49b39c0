"""The demo: train a VAE on real digits, draw samples, evaluate it on held-out data, and leave a report.

python examples/demo.py [FOLDER]          by default runs/demo, then runs/demo-2, …
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

from artifex.core.cli.main import main as artifex

CONFIG = Path(__file__).parent / "vae_digits.yaml"


def new_folder() -> Path:
    """A folder that does not exist yet."""
    names = itertools.chain(["demo"], (f"demo-{i}" for i in itertools.count(2)))
    return next(folder for name in names if not (folder := Path("runs") / name).exists())


def step(title: str, *words: str) -> None:
    """Run one command of the program, and stop where it fails."""
    print(f"\n{title}\n$ artifex {' '.join(words)}", file=sys.stderr)
    code = artifex(words)
    if code:
        raise SystemExit(code)


def main() -> None:
    """Train, sample, evaluate."""
    began = time.perf_counter()
    run = sys.argv[1] if len(sys.argv) > 1 else str(new_folder())
    step("1. Train a variational autoencoder on 1,437 digits", "train", str(CONFIG), "--out", run)
    step("2. Draw 64 samples", "generate", run, "-n", "64", "--out", f"{run}/means.png", "--option", "mean=true")
    step("3. Evaluate it on the 360 digits that were held out", "evaluate", run)
    print(f"\nDone in {time.perf_counter() - began:.0f} s. Open {run}/report.html", file=sys.stderr)
    for name in ("report.html", "means.png", "samples.png", "reconstructions.png", "metrics.jsonl"):
        print(f"  {run}/{name}", file=sys.stderr)


if __name__ == "__main__":
    main()
