"""Quality of the GAN family on real digits: Fréchet distance, precision and recall, classes.

digits   scikit-learn's 8 × 8, a perceptron on each side. FD[pixels], precision and recall of 1,000 samples against
         all 1,797 pictures.
mnist    28 × 28, where a data folder holds it (variable ARTIFEX_DATA), at the small budget that is printed:
         convolutions for dcgan, lsgan and cgan, perceptrons for the others. The same of 2,000 samples against the
         10,000 held-out pictures, in the 64 hidden features of the judge.

The judge is a perceptron of scikit-learn on the real training pictures. It tells the class of a sample: `rarest` and
`most` are the shares of the rarest and of the commonest class, `label` how often a conditional model gives the class
that it was asked for. Samples are of averaged generators.

    python benchmarks/gan_quality.py [digits] [mnist] [--seeds 0 1 2] [--models NAME ...] [--steps N] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy as np
from flax import nnx
from sklearn.neural_network import MLPClassifier

from artifex.core import OptimizerConfig, Trainer, TrainerConfig, create_model, load_dataset
from artifex.core.data.source import Source
from artifex.core.evaluation.frechet import FrechetDistance
from artifex.core.evaluation.manifold import Precision, Recall
from artifex.core.evaluation.picture import grid_png
from artifex.core.testing.paths import data_folder

ADAM, WASSERSTEIN = {"betas": (0.5, 0.999)}, {"betas": (0.0, 0.9)}
MODERN = {"betas": (0.0, 0.99), "schedule": "cosine", "final": 0.25}
MOST = 2000  # rows in precision and recall


@dataclass(frozen=True)
class Recipe:
    """How a model is trained."""

    networks: dict[str, Any]
    optimizer: dict[str, Any]
    steps: int
    parts: int = 1  # of the batch: 64 rows for each critic step
    fields: dict[str, Any] = field(default_factory=dict)  # of the model's config


def digits_recipes() -> dict[str, Recipe]:
    """Perceptrons of 2 × 256 units."""
    networks = {"type": "mlp", "hidden_dims": (256, 256)}
    plain = Recipe(networks, {**ADAM, "learning_rate": 2e-4}, 2500)
    return {
        "dcgan": plain,
        "lsgan": plain,
        "wgan_gp": Recipe(networks, {**WASSERSTEIN, "learning_rate": 1e-4}, 2500, 5),
        "cgan": plain,
        "r3gan": Recipe(networks, {**MODERN, "learning_rate": 1e-3}, 2500, fields={"gamma": (1.0, 0.1)}),
    }


def mnist_recipes() -> dict[str, Recipe]:
    """Convolutions of 16 and 32 channels where the paper has them, else perceptrons of 2 × 256 units."""
    perceptrons = {"type": "mlp", "hidden_dims": (256, 256)}
    plain = Recipe({"type": "conv", "width": 16}, {**ADAM, "learning_rate": 1e-3}, 700)
    modern = {**MODERN, "learning_rate": 5e-4}
    return {
        "dcgan": plain,
        "lsgan": plain,
        "wgan_gp": Recipe(perceptrons, {**WASSERSTEIN, "learning_rate": 5e-4}, 600, 5),
        "cgan": plain,
        "r3gan": Recipe(perceptrons, modern, 1500, fields={"gamma": (10.0, 1.0)}),
    }


class Judge:
    """A perceptron with one hidden layer that tells the class of a picture."""

    def __init__(self, train: Source, test: Source) -> None:
        x, y = pictures(train)
        make: Any = MLPClassifier  # whose stubs know no number as the batch size
        self.network = make((64,), batch_size=100, max_iter=max(8, 200_000 // len(x)), random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # stops after max_iter epochs, as it is told to
            self.network.fit(flat(x), y)
        self.accuracy = self.agreement(*pictures(test))

    def classes(self, x: np.ndarray) -> np.ndarray:
        """The class of each picture."""
        return self.network.predict(flat(x))

    def agreement(self, x: np.ndarray, y: np.ndarray) -> float:
        """The share of pictures that it puts into their class."""
        return float((self.classes(x) == y).mean())

    def features(self, x: np.ndarray) -> np.ndarray:
        """The hidden layer."""
        return np.maximum(flat(x) @ self.network.coefs_[0] + self.network.intercepts_[0], 0)


def pictures(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """All pictures of a source, and their labels."""
    rows = source.take(np.arange(len(source)))
    return rows["x"], rows["y"]


def flat(x: np.ndarray) -> np.ndarray:
    """Pictures as rows."""
    return x.reshape(len(x), -1)


def train(name: str, recipe: Recipe, data: Source, seed: int) -> Any:
    """The averaged model after training."""
    fields = {"shape": data.spec.shape, "range": (0.0, 1.0), "z_dim": 32, "networks": recipe.networks}
    model = create_model(name, rngs=nnx.Rngs(seed), **fields, **recipe.fields)
    config = TrainerConfig(
        steps=recipe.steps, batch_size=64 * recipe.parts, seed=seed, log_every=1000, steps_per_call=5,
        optimizer=OptimizerConfig(**recipe.optimizer), ema_decay=0.998,
    )  # fmt: skip
    trainer = Trainer(model, config)
    trainer.fit(data)
    return trainer.model(ema=True)


def value(metric: Any, real: np.ndarray, fake: np.ndarray) -> float:
    """A metric of two sets of rows."""
    state = metric.init()
    for kind, rows in (("real", real), ("fake", fake)):
        batch = {kind: flat(rows), "index": np.arange(len(rows))}
        state = metric.update(state, batch, np.ones(len(rows)))
    return metric.compute(state).value


def scores(real: np.ndarray, fake: np.ndarray) -> str:
    """FD, precision and recall of two sets of rows, as a part of a line."""
    few = real[:MOST], fake[:MOST]
    return f"{value(FrechetDistance(), real, fake):8.3f} {value(Precision(), *few):9.2f} {value(Recall(), *few):7.2f}"


def table(title: str, recipes: dict[str, Recipe], splits: tuple[Source, Source], options: argparse.Namespace) -> None:
    """Train every model on every seed, and print what samples are like."""
    train_set, test_set = splits
    judge, small = Judge(*splits), len(train_set) < 10_000
    view, n = (flat, 1000) if small else (judge.features, 2000)
    x = pictures(test_set)[0]
    real = view(np.concatenate([pictures(train_set)[0], x]) if small else x)
    half = np.random.default_rng(0).permutation(len(real))
    print(f"\n{title}: judge's accuracy on {len(x):,} held-out pictures {judge.accuracy:.3f}")
    print(f"FD[{'pixels' if small else 'judge'}], precision and recall of {n:,} samples against {len(real):,} pictures")
    print("  model    steps seed       FD precision  recall  rarest   most  label  CPU s")
    print(f"  half of the pictures {scores(real[half[: len(real) // 2]], real[half[len(real) // 2 :]])}", flush=True)
    for name in options.models or recipes:
        for seed in options.seeds:
            before = time.process_time()
            recipe = replace(recipes[name], steps=options.steps or recipes[name].steps)
            model = train(name, recipe, train_set, seed)
            asked = np.arange(n) % 10
            given = {"y": asked} if model.conditions else {}
            x = np.asarray(model.sample(n, rngs=nnx.Rngs(100 + seed), batch_size=250, **given))
            spent = time.process_time() - before
            told = judge.classes(x)
            shares = np.bincount(told, minlength=10) / n
            label = f"{(told == asked).mean():6.3f}" if given else f"{'-':>6}"
            print(
                f"  {name:<8} {recipe.steps:>5} {seed:>4} {scores(real, view(x))} "
                f"{shares.min():7.3f} {shares.max():6.3f} {label} {spent:6.0f}",
                flush=True,
            )
            if options.out:
                Path(options.out).mkdir(parents=True, exist_ok=True)
                Path(options.out, f"{title}_{name}_{seed}.png").write_bytes(grid_png(x[:40], columns=10))


def main() -> None:
    """The parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["digits", "mnist"])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--models", nargs="*", help="only these")
    parser.add_argument("--steps", type=int, help="of each model, instead of the budget of its recipe")
    parser.add_argument("--out", help="a folder for pictures of 40 samples of each seed")
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    for title, recipes in (("digits", digits_recipes()), ("mnist", mnist_recipes())):
        if title in options.parts and (title == "digits" or data_folder() is not None):
            table(title, recipes, (load_dataset(title, "train"), load_dataset(title, "test")), options)


if __name__ == "__main__":
    main()
