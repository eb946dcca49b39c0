"""`artifex generate RUN`: draw samples."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flax import nnx

from artifex.core.cli.run_files import conditions_of, open_folder
from artifex.core.errors import ConfigError
from artifex.core.evaluation.picture import picture_of

EXAMPLES = """\
examples:
  artifex generate runs/a -n 16 --seed 0 --out samples.npz
  artifex generate runs/a -n 64 --out samples.png --option mean=true
  artifex generate runs/cond -n 10 --option y=3 --out threes.npz
"""


def run(argv: Sequence[str]) -> int:
    """Write samples to a file: `x` in an npz, or a picture."""
    parser = argparse.ArgumentParser(
        "artifex generate", description="Draw samples from a run or a saved model.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("run", help="a run's folder, or a saved model's")
    parser.add_argument("-n", type=int, default=16, help="number of samples (16)")
    parser.add_argument("--seed", type=int, default=0, help="of all noise (0)")
    parser.add_argument("--out", default="samples.npz", help="an .npz, or a .png for pictures and points (samples.npz)")
    parser.add_argument("--batch-size", type=int, help="samples that are drawn at once (all)")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="passed to the model's generate"
    )
    arguments = parser.parse_args(argv)
    out = Path(arguments.out)
    if out.suffix not in (".npz", ".png"):
        raise ConfigError(f"--out: expected a file that ends in .npz or .png, got {out}.")
    model = open_folder(arguments.run).model
    options = conditions_of(model, arguments.option)
    x = np.asarray(model.sample(arguments.n, rngs=nnx.Rngs(arguments.seed), batch_size=arguments.batch_size, **options))
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        np.savez_compressed(out, x=x)
    else:
        picture = picture_of(x)
        if picture is None:
            raise ConfigError(
                f"--out: expected .npz for samples of shape {x.shape[1:]}, got {out}. They are no pictures."
            )
        out.write_bytes(picture)
    print(json.dumps({"schema": 1, "file": str(out), "shape": list(x.shape)}))
    return 0
