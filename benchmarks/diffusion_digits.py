"""Five diffusion models on 8 × 8 digits: distance against evaluations of the network.

distance  FD[pixels] of 400 samples against all 1,797 digits, at 5, 10, 20, 50 and 100 evaluations, by solvers of four
          kinds: of first order, stochastic, of second order in one step and in several. Weights are averaged. Heun's
          rule follows ε against σ/α, but a velocity for flow_matching, which starts with no signal, and for ddpm, whose
          cosine leaves next to none: σ/α falls from 2,029 to 3 in the first of five steps.
summary   medians over seeds and the picture, of the lines that `distance` printed into a file.

The budget is printed: perceptrons for ddpm (cosine schedule, T = 100), edm and flow_matching, a transformer of 4 × 4
patches for dit, asked for 40 digits of each class, and for latent_diffusion a perceptron on the codes of an
autoencoder_kl.

    python benchmarks/diffusion_digits.py distance [--models NAME ...] [--seeds N ...]
    python benchmarks/diffusion_digits.py summary FILE
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
from diffusion_quality import DIGITS, NETWORK, all_digits, dit, fd_pixels, latent, trained
from diffusion_table import Trained, against_evaluations, summary

from artifex.core import load_dataset
from artifex.core.data.source import Source

SAMPLES = 400
STEPS = 2000  # of training a perceptron
MEASURE = f"FD[pixels], {SAMPLES} samples"


def of_pixels(name: str, data: Source, seed: int, **fields: Any) -> Trained:
    """A model with a perceptron."""
    model = trained(name, {"network": NETWORK, "data_range": [0.0, 1.0], **fields}, data, STEPS, seed)
    return Trained(model, lambda x: x, f"{STEPS} steps of 128", {}, SAMPLES, velocity=name in ("ddpm", "flow_matching"))


def of_patches(data: Source, seed: int) -> Trained:
    """A transformer with classes."""
    asked = {"y": np.arange(SAMPLES) % 10}
    return Trained(dit(data, 1000, seed), lambda x: x, "1000 steps of 128", asked, SAMPLES)


def of_codes(data: Source, seed: int) -> Trained:
    """A perceptron on codes."""
    model, _ = latent(data, (400, STEPS), seed)
    budget = f"400 steps of 128 of the autoencoder, {STEPS} on its codes"
    return Trained(model, lambda x: np.clip((x + 1) / 2, 0, 1), budget, {}, SAMPLES)


MODELS: dict[str, Callable[[Source, int], Trained]] = {
    "ddpm": lambda data, seed: of_pixels("ddpm", data, seed, **DIGITS["ddpm, T = 100, cosine"][1]),
    "edm": lambda data, seed: of_pixels("edm", data, seed),
    "flow_matching": lambda data, seed: of_pixels("flow_matching", data, seed),
    "dit": of_patches,
    "latent_diffusion": of_codes,
}


def distance(names: list[str], seeds: list[int]) -> None:
    """FD[pixels] against evaluations."""
    data, real = load_dataset("digits", "train"), all_digits()["x"]
    order = np.random.default_rng(0).permutation(len(real))
    some, others = real[order[:SAMPLES]], real[order[SAMPLES:]]
    noise = np.random.default_rng(0).uniform(size=some.shape)
    print(f"\nFD[pixels]: {SAMPLES} digits against the others {fd_pixels(some, others):.2f}, "
          f"noise {fd_pixels(noise, real):.2f}")  # fmt: skip
    for name in names:
        for seed in seeds:
            before = time.process_time()
            it = MODELS[name](data, seed)
            print(f"\n{name}, seed {seed}: {it.budget}, {time.process_time() - before:.0f} s of CPU")
            against_evaluations(it, seed, lambda x: fd_pixels(x, real))
            print(f"  {time.process_time() - before:.0f} s of CPU in all", flush=True)


def main() -> None:
    """The part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("distance", "summary"))
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    if arguments.part == "distance":
        print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
        distance(arguments.models, arguments.seeds)
    else:
        summary(arguments.file, MEASURE)


if __name__ == "__main__":
    main()
