"""CycleGAN without pairs: digits and their negatives, digits and their quarter turns.

x upright pictures, y the moved ones of other digits (the training set is cut in two), batches of 1, Adam at 2e-4 held
for half of the run and then falling to 0, as the paper has it. On held-out pictures: both cycles' mean difference of
grey levels in [0, 1]; the share of translations whose class, told by a perceptron fitted to real upright pictures, is
that of their source (y -> x; x -> y, moved back); their mean difference to the true counterpart. `as is`: the same of
the sources themselves.

    python benchmarks/gan_translate.py [digits] [mnist] [--seeds 3] [--moves negative turned] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy as np
from flax import nnx
from gan_quality import Judge, pictures

from artifex.core import OptimizerConfig, Trainer, TrainerConfig, create_model, load_dataset
from artifex.core.data.source import ArraySource, Source
from artifex.core.evaluation.picture import grid_png
from artifex.core.leaves import flatten, merge
from artifex.core.testing.paths import data_folder
from artifex.gan.domains import Pairs

Pictures = np.ndarray
MOVES: dict[str, tuple[Callable[[Pictures], Pictures], Callable[[Pictures], Pictures]]] = {  # and back
    "negative": (lambda x: 1 - x, lambda x: 1 - x),
    "turned": (lambda x: np.rot90(x, 1, (1, 2)), lambda x: np.rot90(x, -1, (1, 2))),
}
RUNS: dict[str, tuple[tuple[str, ...], int, dict[str, Any]]] = {  # moves, steps, model
    "digits": (("negative", "turned"), 4000, {"shape": (8, 8, 1), "width": 16, "blocks": 2, "patch_layers": 1}),
    "mnist": (("negative",), 3000, {"shape": (28, 28, 1), "width": 8, "blocks": 2, "patch_layers": 2}),
}
OPTIMIZER = OptimizerConfig(learning_rate=2e-4, schedule="linear", hold=0.5, betas=(0.5, 0.999))


def two_kinds(source: Source, move: Callable[[Pictures], Pictures]) -> Pairs:
    """Upright pictures of the first half, moved ones of the second."""
    x, half = pictures(source)[0], len(source) // 2
    return Pairs(ArraySource({"x": x[:half]}, name="upright"), ArraySource({"x": move(x[half:])}, name="moved"))


def train(source: Source, move: Callable[[Pictures], Pictures], steps: int, fields: dict[str, Any], seed: int) -> Any:
    """The model after training."""
    config = TrainerConfig(steps=steps, batch_size=1, seed=seed, log_every=1000, steps_per_call=10, optimizer=OPTIMIZER)
    trainer = Trainer(create_model("cyclegan", rngs=nnx.Rngs(seed), range=(0.0, 1.0), **fields), config)
    trainer.fit(two_kinds(source, move))
    return trainer.model()


def translations(model: Any, x: Pictures, y: Pictures) -> tuple[Pictures, ...]:
    """G(y), F(x), G(F(x)), F(G(y)) in grey levels."""
    layout, arrays = flatten(model)

    @jax.jit
    def translate(arrays, x, y):
        model = merge(layout, arrays)
        to_x, to_y = model.translate(y), model.translate_back(x)
        return to_x, to_y, model.translate(to_y), model.translate_back(to_x)

    return tuple(np.asarray(found) for found in translate(arrays, x, y))


def apart(a: Pictures, b: Pictures) -> float:
    """The mean difference of grey levels."""
    return float(np.abs(a - b).mean())


def report(name: str, options: argparse.Namespace) -> None:
    """A line for each move and seed."""
    moves, steps, fields = RUNS[name]
    train_set, test_set = (load_dataset(name, split) for split in ("train", "test"))
    judge = Judge(train_set, test_set)
    x, labels = (rows[:1000] for rows in pictures(test_set))
    print(f"\n{name}: {steps} steps, {len(x)} held-out pictures, judge's accuracy {judge.accuracy:.3f}")
    print("  move     seed  cycle x  cycle y   y -> x: label  error   x -> y: label  error  CPU s")
    for move in options.moves or moves:
        there, back = MOVES[move]
        y = np.ascontiguousarray(there(x))
        as_is = f"{judge.agreement(y, labels):16.3f} {apart(y, x):6.3f} {judge.agreement(back(x), labels):15.3f}"
        print(f"  {move:<8} as is                   {as_is} {apart(x, y):6.3f}")
        for seed in range(options.seeds):
            before = time.process_time()
            to_x, to_y, cycle_x, cycle_y = translations(train(train_set, there, steps, fields, seed), x, y)
            spent = time.process_time() - before
            print(
                f"  {move:<8} {seed:>4} {apart(cycle_x, x):8.3f} {apart(cycle_y, y):8.3f} "
                f"{judge.agreement(to_x, labels):15.3f} {apart(to_x, x):6.3f} "
                f"{judge.agreement(back(to_y), labels):15.3f} {apart(to_y, y):6.3f} {spent:6.0f}",
                flush=True,
            )
            if options.out and seed == 0:
                Path(options.out).mkdir(parents=True, exist_ok=True)
                rows = [rows[:10] for rows in (x, to_y, cycle_x, y, to_x, cycle_y)]
                Path(options.out, f"{name}_{move}.png").write_bytes(grid_png(np.concatenate(rows), columns=10))


def main() -> None:
    """The parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(RUNS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--moves", nargs="*", help="only these")
    parser.add_argument("--out", help="a folder for pictures of the first seed: x, F(x), G(F(x)), y, G(y), F(G(y))")
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    for name in RUNS:
        if name in options.parts and (name == "digits" or data_folder() is not None):
            report(name, options)


if __name__ == "__main__":
    main()
