"""Bits per dimension of flows on pictures.

Digits of scikit-learn, 8 x 8 in 17 levels: 1,437 to train on, of which the last 145 validate, 360 held out. A small
flow overfits within minutes, so that the parameters that are best on the validation part count: that is part of the
protocol. MNIST where a data folder holds it (variable ARTIFEX_DATA), 28 x 28 in 256 levels, at the small budget that
is printed; the published figures beside it are from long runs of large networks and cannot be compared with it.
Uniform dequantisation; every log-determinant counted; the bound is a mean over draws of the noise, one set of draws
for validation and others for the test.

    python benchmarks/flow_images.py [digits] [mnist] [--models WORD ...]
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import time
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy as np
from flax import nnx

from artifex.core import OptimizerConfig, Trainer, TrainerConfig, create_model, load_dataset
from artifex.core.data.source import Source, subset
from artifex.core.data.spec import DataSpec
from artifex.core.leaves import Layout, flatten, merge
from artifex.core.prob.noise import RowRngs
from artifex.core.testing.paths import data_folder
from artifex.flow.bijector import Chain
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.image import Flatten
from artifex.flow.levels import Dequantise, from_levels
from artifex.flow.linear import ActNorm

SEEDS = (0, 1, 2)
CHUNK = 64  # rows that are evaluated at once
VALIDATION_DRAWS, TEST_DRAWS = 2, 8


Make = Callable[[DataSpec, nnx.Rngs], Flow]


class Run(NamedTuple):
    """A data set, its three parts, and a budget."""

    title: str
    parts: tuple[Source, Source, Source]  # train, validation, test
    steps: int
    every: int  # steps between two looks at the validation part
    batch_size: int
    models: dict[str, Make]
    seeds: tuple[int, ...] = SEEDS


@functools.partial(jax.jit, static_argnums=0)
def nats(layout: Layout, arrays: dict[str, jax.Array], x: jax.Array, key: jax.Array, first: jax.Array) -> jax.Array:
    """−log p of each row for one draw of the noise of rows `first` and on."""
    module = merge(layout, arrays)
    module.eval()
    return -module(x, rngs=RowRngs(key, first))["log_prob"]


def bits(model: Flow, source: Source, draws: int, seed: int) -> tuple[float, float]:
    """Mean and standard error of the bits per dimension of a source."""
    layout, arrays = flatten(model)
    rows = source.take(np.arange(len(source)))["x"]
    keys = jax.random.split(jax.random.key(seed), draws)
    found = []
    for first in range(0, len(rows), CHUNK):
        x = np.take(rows, np.arange(first, first + CHUNK), axis=0, mode="clip")
        found.append(np.mean([nats(layout, arrays, x, key, first) for key in keys], axis=0)[: len(rows) - first])
    each = np.concatenate(found) / (math.prod(source.spec.shape) * math.log(2))
    return float(each.mean()), float(each.std(ddof=1) / math.sqrt(len(each)))


def best(run: Run, make: Make, seed: int) -> tuple[Flow, int, float]:
    """The model that was best on the validation part, its step and its bits there."""
    model = make(run.parts[0].spec, nnx.Rngs(seed))
    optimizer = OptimizerConfig(learning_rate=1e-3, schedule="cosine", warmup_steps=50, clip_norm=5.0)
    config = TrainerConfig(
        steps=run.steps, batch_size=run.batch_size, seed=seed, log_every=run.every, optimizer=optimizer, ema_decay=0.99
    )
    trainer = Trainer(model, config)
    kept, kept_step, least = model, 0, math.inf
    while trainer.step < run.steps:
        trainer.fit(run.parts[0], steps=min(run.every, run.steps - trainer.step))
        candidate = trainer.model(ema=True)
        now, _ = bits(candidate, run.parts[1], VALIDATION_DRAWS, seed=1)
        if now < least:
            kept, kept_step, least = candidate, trainer.step, now
    return kept, kept_step, least


def table(run: Run, chosen: list[str] | None) -> None:
    """Train the models whose label begins with a chosen word on every seed, and print their bits."""
    train, validation, test = run.parts
    sizes = f"{len(train)} to train on, {len(validation)} validate, {len(test)} held out"
    print(f"\n{run.title}: {run.steps} steps of {run.batch_size}, {sizes}, seeds {list(run.seeds)}")
    print(f"  {'model':<40} {'bits/dim (s.e.)':>16} {'over seeds':>11} {'best at step':>20} {'CPU s a run':>12}")
    print(f"  {'Gaussian of full covariance':<40} {gaussian_bits(train, test):8.3f}")
    for label, make in run.models.items():
        if chosen and not any(label.startswith(word) for word in chosen):
            continue
        before = time.process_time()
        found, steps = [], []
        for seed in run.seeds:
            model, step, _ = best(run, make, seed)
            found.append(bits(model, test, TEST_DRAWS, seed=2))
            steps.append(step)
        mean, error = np.mean(found, axis=0)
        spread = np.std([value for value, _ in found], ddof=1) if len(found) > 1 else math.nan
        seconds = (time.process_time() - before) / len(run.seeds)
        print(f"  {label:<40} {mean:8.3f} ({error:.3f}) {spread:11.3f} {steps!s:>20} {seconds:12.0f}", flush=True)


def gaussian_bits(train: Source, test: Source) -> float:
    """Bits per dimension of a Gaussian on dequantised pixels, in units of a level, with a little on the diagonal."""
    rng, levels = np.random.default_rng(0), train.spec.levels or 0
    x, y = (
        source.take(np.arange(len(source)))["x"].reshape(len(source), -1) * (levels - 1)
        + rng.random((len(source), math.prod(source.spec.shape)))
        for source in (train, test)
    )
    mean, cov = x.mean(0), np.cov(x.T) + 1e-3 * np.eye(x.shape[1])
    gap = y - mean
    squares = np.einsum("ni,ni->n", gap, np.linalg.solve(cov, gap.T).T)
    nats = 0.5 * (squares + np.linalg.slogdet(2 * np.pi * cov)[1])
    return float(nats.mean() / (x.shape[1] * math.log(2)))


def glow(n_scales: int, n_steps: int, hidden: int) -> Make:
    """A Glow."""

    def make(spec: DataSpec, rngs: nnx.Rngs) -> Flow:
        sizes = {"n_scales": n_scales, "n_steps": n_steps, "hidden_channels": hidden}
        return create_model("glow", event_shape=spec.shape, levels=spec.levels, **sizes, rngs=rngs)

    return make


def realnvp(n_scales: int, n_blocks: int, hidden: int) -> Make:
    """A Real NVP of pictures."""

    def make(spec: DataSpec, rngs: nnx.Rngs) -> Flow:
        sizes = {"n_scales": n_scales, "n_blocks": n_blocks, "hidden_channels": hidden}
        return create_model("realnvp_image", event_shape=spec.shape, levels=spec.levels, **sizes, rngs=rngs)

    return make


def splines(n_layers: int, hidden: int) -> Make:
    """Spline couplings of the pixels as a vector: the vectors' recipe behind the pictures' first maps."""

    def make(spec: DataSpec, rngs: nnx.Rngs) -> Flow:
        size, levels = math.prod(spec.shape), spec.levels or 0
        transform = {"type": "coupling", "net": {"type": "mlp", "hidden_dims": [hidden, hidden]}}
        inner = create_model(
            "neural_spline", dim=size, n_layers=n_layers, transform=transform, mixing="permute", rngs=rngs
        )
        # A level's uniform noise is wider than its neighbours' distance to the box of the splines: ±3 of each pixel.
        norm = ActNorm((size,), rngs=rngs)
        bijector = Chain(from_levels(spec.shape, levels), Flatten(spec.shape), norm, inner.bijector)
        return Flow(FlowConfig(), inner.base, bijector, dequantise=Dequantise(levels), rngs=rngs)

    return make


def digits(chosen: list[str] | None) -> None:
    """The digits of scikit-learn, three seeds."""
    train, test = (load_dataset("digits", split) for split in ("train", "test"))
    n = len(train) - 145
    parts = (subset(train, np.arange(n)), subset(train, np.arange(n, len(train))), test)
    models = {
        "spline couplings, 8 layers, 128 x 2": splines(8, 128),
        "glow, L 2, K 4, 32 channels": glow(2, 4, 32),
        "realnvp_image, 2 scales, 1 block of 24": realnvp(2, 1, 24),
    }
    table(Run("digits", parts, 700, 100, 128, models), chosen)


def mnist(chosen: list[str] | None) -> None:
    """MNIST at a small budget, one seed."""
    if data_folder() is None:
        print("\nMNIST: left out, no data folder (set ARTIFEX_DATA)")
        return
    train, test = (load_dataset("mnist", split) for split in ("train", "test"))
    parts = (subset(train, np.arange(59_000)), subset(train, np.arange(59_000, 59_512)), subset(test, np.arange(1000)))
    models = {"glow, L 2, K 6, 64 channels": glow(2, 6, 64)}
    table(Run("MNIST, first 1,000 of the test set, small budget", parts, 1200, 300, 64, models, (0,)), chosen)
    print(
        "  published after long runs of large networks, to be checked before it is quoted: RealNVP 1.06, Glow 1.05, "
        "FFJORD 0.99 (Grathwohl et al., 2019)"
    )


PARTS: dict[str, Callable[[list[str] | None], None]] = {"digits": digits, "mnist": mnist}


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--models", nargs="+", metavar="WORD", help="those whose label begins with a word")
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    for part in options.parts or PARTS:
        PARTS[part](options.models)


if __name__ == "__main__":
    main()
