"""Held-out likelihood of the VAE family on real digits.

Digits of scikit-learn, binarised at level 8: 1,437 to train on, 360 held out; two layers of 200 tanh units, 8 latents,
4,000 steps of 128, Adam at 1e-3 with a cosine; nats an image, three seeds. MNIST where a data folder holds it
(variable ARTIFEX_DATA): stochastic binarisation, the test set binarised once with seed 0, at the small budget that is
printed, three seeds too; the published figures beside it are from long runs of other networks, not to be compared.

    python benchmarks/vae_quality.py [digits] [mnist]
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy as np
from flax import nnx

from artifex.core import OptimizerConfig, Trainer, TrainerConfig, create_model, load_dataset
from artifex.core.data.source import Source, subset
from artifex.core.leaves import flatten, merge
from artifex.core.testing.paths import data_folder
from artifex.vae.bound import iwae_log_prob

SEEDS = (0, 1, 2)
TANH = {"hidden_dims": (200, 200), "activation": "tanh"}


def models(event: tuple[int, ...], latent: int) -> dict[str, tuple[str, dict]]:
    """Name in the table -> model and its fields."""
    parts = {"encoder": TANH, "decoder": {**TANH, "output_dim": event}, "latent_dim": latent}
    ladder = {"latent_dims": (latent, latent), "hidden_dims": (200, 200), "decoder": parts["decoder"]}
    return {
        "vae": ("vae", parts),
        "iwae, k = 20": ("iwae", {**parts, "k": 20}),
        "hierarchical_vae": ("hierarchical_vae", {**ladder, "warmup_steps": 1000}),
    }


def train(name: str, fields: dict, data: Source, steps: int, seed: int):
    """A trained model in evaluation mode."""
    model = create_model(name, rngs=nnx.Rngs(seed), **fields)
    optimizer = OptimizerConfig(learning_rate=1e-3, schedule="cosine")
    Trainer(model, TrainerConfig(steps=steps, batch_size=128, seed=seed, log_every=1000, optimizer=optimizer)).fit(data)
    model.eval()
    return model


def bounds(model, x: np.ndarray, ks: tuple[int, ...]) -> list[float]:
    """IWAE_k in nats, the mean over examples; k = 1 is the ELBO."""
    layout, arrays = flatten(model)

    def run(arrays, x, key, k):
        return iwae_log_prob(merge(layout, arrays), x, k=k, chunk=min(k, 50), rngs=nnx.Rngs(key))

    compiled = jax.jit(run, static_argnums=3)
    return [
        float(
            np.mean(
                np.concatenate([compiled(arrays, part, jax.random.key(0), k) for part in np.split(x, len(x) // 40)])
            )
        )
        for k in ks
    ]


def table(title: str, data: tuple[Source, Source], steps: int, latent: int, seeds: tuple[int, ...]) -> None:
    """Train every model on every seed, and print the bounds."""
    train_set, test_set = data
    x = test_set.take(np.arange(len(test_set) // 40 * 40))["x"]
    print(f"\n{title}: {steps} steps of 128, {latent} latents, {len(x)} held out, seeds {list(seeds)}; nats an image")
    print(f"  {'model':<20} {'ELBO':>16} {'IWAE-50':>16} {'IWAE-1000':>16} {'CPU s a run':>12}")
    for label, (name, fields) in models(train_set.spec.shape, latent).items():
        before = time.process_time()
        found = [bounds(train(name, fields, train_set, steps, seed), x, (1, 50, 1000)) for seed in seeds]
        mean, std = np.mean(found, 0), np.std(found, 0, ddof=1) if len(seeds) > 1 else np.zeros(3)
        cells = " ".join(f"{m:9.2f} ± {s:4.2f}" for m, s in zip(mean, std, strict=True))
        print(f"  {label:<20} {cells} {(time.process_time() - before) / len(seeds):12.0f}", flush=True)


def independent_bernoulli(data: tuple[Source, Source]) -> float:
    """log p of held-out data under one probability a pixel, with one pseudo-count."""
    train_x, test_x = (source.take(np.arange(len(source)))["x"] for source in data)
    p = (train_x.sum(0) + 1) / (len(train_x) + 2)
    log_p = test_x * np.log(p) + (1 - test_x) * np.log(1 - p)
    return float(log_p.reshape(len(test_x), -1).sum(1).mean())


def digits() -> None:
    """The digits of scikit-learn, three seeds."""
    data = tuple(load_dataset({"type": "digits", "binarise": "threshold"}, split) for split in ("train", "test"))
    print(f"independent Bernoulli on digits: {independent_bernoulli(data):.2f}")
    table("digits", data, 4000, 8, SEEDS)


def mnist() -> None:
    """MNIST at a small budget, three seeds."""
    if data_folder() is None:
        print("\nMNIST: left out, no data folder (set ARTIFEX_DATA)")
        return
    train_set, test_set = (load_dataset({"type": "mnist", "binarise": "stochastic"}, s) for s in ("train", "test"))
    few = subset(test_set, np.arange(1000))
    table("MNIST, first 1,000 of the test set, small budget", (train_set, few), 4000, 16, SEEDS)
    print("  published after long runs of other networks, 200 samples: VAE -89.78, IWAE -86.82 (Pythae's own table)")


if __name__ == "__main__":
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    for part in (digits, mnist):
        if part.__name__ in (sys.argv[1:] or ("digits", "mnist")):
            part()
