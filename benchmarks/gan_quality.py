"""Quality of the GAN family on real digits: Fréchet distance on pixels, precision and recall, classes.

Digits of scikit-learn, 8 × 8, a perceptron on each side, 2,500 steps; MNIST where a data folder holds it (variable
ARTIFEX_DATA), at 28 × 28 with convolutions, at the small budget that is printed. A nearest-neighbour classifier on real
training pictures tells the class of a sample, and how often a conditional model gives the class that it was asked for.

    python benchmarks/gan_quality.py [digits] [mnist] [--seeds 3] [--steps 2500]
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy as np
from flax import nnx
from sklearn.neighbors import KNeighborsClassifier

from artifex.core import OptimizerConfig, Trainer, TrainerConfig, create_model, load_dataset
from artifex.core.data.source import Source
from artifex.core.evaluation.frechet import FrechetDistance
from artifex.core.evaluation.manifold import Precision, Recall
from artifex.core.testing.paths import data_folder

MLP = {"type": "mlp", "hidden_dims": (256, 256)}
CONV = {"type": "conv", "width": 16}
PLAIN = {"type": "conv", "width": 16, "critic_norm": "none"}
RESIDUAL = {"type": "residual", "widths": (32, 32, 32)}
BETAS = {"wgan_gp": (0.0, 0.9), "r3gan": (0.0, 0.99)}
PARTS = {"wgan_gp": 5}


def models(conv: bool) -> dict[str, dict]:
    """Model -> its fields."""
    networks = dict.fromkeys(("dcgan", "lsgan", "cgan"), CONV if conv else MLP)
    networks |= {"wgan_gp": PLAIN if conv else MLP, "r3gan": RESIDUAL if conv else MLP}
    shape = (28, 28, 1) if conv else (8, 8, 1)
    return {n: {"shape": shape, "range": (0.0, 1.0), "z_dim": 32, "networks": net} for n, net in networks.items()}


def train(name: str, fields: dict, data: Source, steps: int, seed: int):
    """The averaged model after training."""
    parts = PARTS.get(name, 1)
    rate = 1e-4 if name == "wgan_gp" else 2e-4
    optimizer = OptimizerConfig(learning_rate=rate, betas=BETAS.get(name, (0.5, 0.999)))
    config = TrainerConfig(
        steps=steps, batch_size=64 * parts, seed=seed, log_every=1000, optimizer=optimizer, ema_decay=0.998
    )
    trainer = Trainer(create_model(name, rngs=nnx.Rngs(seed), **fields), config)
    trainer.fit(data)
    return trainer.model(ema=True)


def value(metric, real: np.ndarray, fake: np.ndarray) -> float:
    """A metric of two sets of pictures, on pixels."""
    state = metric.init()
    for kind, rows in (("real", real), ("fake", fake)):
        batch = {kind: rows.reshape(len(rows), -1), "index": np.arange(len(rows))}
        state = metric.update(state, batch, np.ones(len(rows)))
    return metric.compute(state).value


def table(title: str, splits: tuple[Source, Source], conv: bool, options: argparse.Namespace) -> None:
    """Train every model on every seed, and print what samples are like."""
    train_set, test_set = splits
    known = train_set.take(np.arange(min(len(train_set), 10_000)))
    judge = KNeighborsClassifier(3).fit(known["x"].reshape(len(known["x"]), -1), known["y"])
    real = test_set.take(np.arange(min(len(test_set), 1000)))["x"]
    print(f"\n{title}: {options.steps} steps, {len(real)} held-out and 1,000 sampled pictures")
    print("  model    seed FD[pixels] precision  recall  rarest  label  CPU s")
    for name, fields in models(conv).items():
        for seed in range(options.seeds):
            before = time.process_time()
            model = train(name, fields, train_set, options.steps, seed)
            asked = np.arange(1000) % 10
            given = {"y": asked} if model.conditions else {}
            x = np.asarray(model.sample(1000, rngs=nnx.Rngs(seed), batch_size=250, **given))
            told = judge.predict(x.reshape(len(x), -1))
            scores = [value(metric, real, x) for metric in (FrechetDistance(), Precision(), Recall())]
            label = f"{(told == asked).mean():6.2f}" if given else f"{'-':>6}"
            print(
                f"  {name:<8} {seed:>4} {scores[0]:10.3f} {scores[1]:9.2f} {scores[2]:7.2f} "
                f"{np.bincount(told, minlength=10).min():7d} {label} {time.process_time() - before:6.0f}",
                flush=True,
            )


def main() -> None:
    """The parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["digits", "mnist"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2500)
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    if "digits" in options.parts:
        table("digits", tuple(load_dataset("digits", split) for split in ("train", "test")), False, options)
    if "mnist" in options.parts and data_folder() is not None:
        table("MNIST", tuple(load_dataset("mnist", split) for split in ("train", "test")), True, options)


if __name__ == "__main__":
    main()
