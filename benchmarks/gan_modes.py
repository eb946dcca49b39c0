"""Modes of 25 Gaussians: WGAN-GP and R3GAN on perceptrons, every seed printed.

The grid {-4, -2, 0, 2, 4}², deviation 0.05, scaled to unit size; 3 × 128 units on both sides, z in the plane, Adam at
1e-3 with first decay 0 and a cosine to 0. R3GAN sees batches of 256, WGAN-GP five of 64 a step, one for each critic
update. 10,000 samples of the averaged generator. A sample is good within 3 deviations of a mode; KL is reverse, over
modes.

    python benchmarks/gan_modes.py [wgan_gp] [r3gan] [--seeds 10] [--first 0] [--steps N] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy as np
from flax import nnx

from artifex.core import OptimizerConfig, Trainer, TrainerConfig, create_model
from artifex.core.data.toys import TOYS, grid_centres
from artifex.core.evaluation.picture import png, scatter
from artifex.gan.metrics import mode_coverage

STD = 0.05
SCALE = float(np.sqrt(grid_centres().var(0).mean() + STD**2))
NETWORKS = {"type": "mlp", "hidden_dims": (128, 128, 128)}
FIELDS = {"shape": (2,), "range": None, "z_dim": 2, "networks": NETWORKS}
MODELS: dict[str, tuple[dict[str, Any], tuple[int, int], int, tuple[float, float]]] = {  # (parts, rows), steps, betas
    "wgan_gp": ({**FIELDS, "weight": 0.1}, (5, 64), 20_000, (0.0, 0.9)),
    "r3gan": ({**FIELDS, "gamma": (0.01, 0.01)}, (1, 256), 10_000, (0.0, 0.99)),
}
PUBLISHED = "published (PacGAN, 10 runs; modes, share, KL): GAN 17.3 .948 .70; PacGAN4 24.8 .936 .04"


def run(name: str, seed: int, steps: int) -> np.ndarray:
    """Samples of the averaged generator after training with one seed."""
    fields, (parts, rows), _, betas = MODELS[name]
    x = TOYS["twenty_five_gaussians"].sample(100_000, seed) / np.float32(SCALE)
    optimizer = OptimizerConfig(learning_rate=1e-3, betas=betas, schedule="cosine")
    config = TrainerConfig(
        steps=steps, batch_size=rows * parts, seed=seed, optimizer=optimizer, ema_decay=0.999,
        steps_per_call=50, log_every=max(steps // 10, 50),
    )  # fmt: skip
    trainer = Trainer(create_model(name, rngs=nnx.Rngs(seed), **fields), config)
    trainer.fit(x)
    return np.asarray(trainer.model(ema=True).sample(10_000, rngs=nnx.Rngs(seed))) * SCALE


def main() -> None:
    """Print a line for each seed, and the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="seed, where a run is cut into parts")
    parser.add_argument("--steps", type=int, help="of both; by default each has its own")
    parser.add_argument("--out", help="a folder for a picture of the samples of the first seed")
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    for name in options.models:
        steps, found = options.steps or MODELS[name][2], []
        print(f"  {name}: {steps:,} steps")
        for seed in range(options.first, options.first + options.seeds):
            before = time.process_time()
            samples = run(name, seed, steps)
            found.append(mode_coverage(samples, grid_centres(), STD))
            modes, share, kl = found[-1]
            print(
                f"  {name:<8} seed {seed}: {modes:2d} of 25 modes, share {share:.3f}, KL {kl:.4f}, "
                f"{time.process_time() - before:.0f} CPU s",
                flush=True,
            )
            if options.out and seed == options.first:
                Path(options.out, f"modes_{name}.png").write_bytes(png(scatter(samples)))
        means = np.mean(found, 0)
        print(f"  {name:<8} mean:   {means[0]:.1f} modes, share {means[1]:.3f}, KL {means[2]:.4f}")
    print(PUBLISHED)


if __name__ == "__main__":
    main()
