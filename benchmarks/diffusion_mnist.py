"""Five diffusion models on MNIST: distance against evaluations of the network, and guidance by labels.

distance  FD[mnist_classifier] of 250 samples, of U-Nets 100, against the 10,000 pictures of the test set, at 5, 10, 20,
          50 and 100 evaluations, by solvers of four kinds: of first order, stochastic, of second order in one step and
          in several. Weights are averaged. A picture of samples in 20 evaluations.
guidance  flow_unet: for each scale, how often the classifier, and how often the three nearest training pictures, are
          of the label asked for; deviation of a pixel within a class; recall and FD of 250 samples.
train     the U-Nets alone, which other parts find again in the temporary folder, or else train themselves.
summary   medians over seeds and the picture, of the lines that the other parts printed into a file.

The budget is printed. It is 9 minutes of one core for ddpm and 18 for flow_unet, which knows labels: U-Nets of widths
40 and 80 that see 2 × 2 blocks of pixels as channels. The others get a minute or two: perceptrons for edm,
flow_matching and ddpm_x0, which predicts x₀ because 256 units cannot give back the noise of 784 pixels; a transformer
of 7 × 7 patches for dit; and for latent_diffusion a perceptron on the codes of an autoencoder_kl, which sees 4 × 4
blocks. The features are those of the perceptron that mnist_classifier.py trains.

    python benchmarks/diffusion_mnist.py train|distance [--models NAME ...] [--seeds N ...]
    python benchmarks/diffusion_mnist.py guidance [--seeds N ...]
    python benchmarks/diffusion_mnist.py summary FILE
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import mnist_classifier
import numpy as np
from diffusion_quality import CONVOLUTIONS, fitted, moments, rows, trained
from diffusion_table import Trained, against_evaluations, summary
from flax import nnx
from gan_quality import value
from sklearn.neighbors import KNeighborsClassifier

from artifex.core import create_model, load_dataset, load_model
from artifex.core.data.source import ArraySource, Source
from artifex.core.evaluation.manifold import Recall
from artifex.core.evaluation.picture import grid_png
from artifex.core.prob.divergence import frechet
from artifex.core.testing.paths import data_folder
from artifex.diffusion import (
    EDMConfig,
    LatentDiffusion,
    LatentDiffusionConfig,
    PerceptronConfig,
    encode_all,
    measure_scale,
)
from artifex.diffusion.multistep import DPMSolver
from artifex.diffusion.weighting import PlainWeight

SAMPLES, UNET_SAMPLES = 250, 100  # of a distance
SCALES = (0.0, 1.0, 2.0, 4.0)  # of guidance
GUIDED, GUIDED_CALLS = 250, 20  # samples and evaluations of guidance
STEPS = 2000  # of training, of the perceptrons
PERCEPTRON = {"shape": [28, 28, 1], "width": 256, "depth": 3}
UNET = {"type": "unet", "shape": [14, 14, 4], "widths": [40, 80], "attention_at": [7], "groups": 8}
UNET_STEPS = {"ddpm": 500, "flow_unet": 1000}  # of training, of batches of 64
TRANSFORMER = {"shape": [28, 28, 1], "patch": 7, "depth": 3, "width": 64, "n_heads": 4, "n_classes": 10}
CODER = {"type": "coder", "shape": [7, 7, 16], "widths": [64], "n_blocks": 1, "latent": 3, "groups": 8}
CODES = 20_000  # pictures that are encoded
KEPT = Path(tempfile.gettempdir()) / "diffusion_mnist"


class Judge(NamedTuple):
    """What pictures are measured by."""

    known: dict[str, np.ndarray]
    real: dict[str, np.ndarray]
    classifier: mnist_classifier.Judge
    target: tuple[np.ndarray, np.ndarray]  # moments of the test set's features

    def distance(self, x: np.ndarray) -> float:
        """FD[mnist_classifier] against the test set."""
        return frechet(*moments(self.classifier.extractor.features(x)), *self.target)


def of_pixels(name: str, data: Source, seed: int, **fields: Any) -> Trained:
    """A model with a perceptron, or dit with its transformer."""
    steps = 1000 if name == "dit" else STEPS
    model = trained(name, {"data_range": [0.0, 1.0], "network": PERCEPTRON, **fields}, data, steps, seed)
    asked = {"y": np.arange(SAMPLES) % 10} if name == "dit" else {}
    return Trained(model, lambda x: x, f"{steps} steps of 128", asked, SAMPLES, velocity=name == "flow_matching")


class Watch:
    """Prints mean losses, each while the next hundred steps run, and the CPU time so far, compiling included."""

    def start(self, step: int, end: int) -> None:
        """Note the time."""
        self.before = time.process_time()

    def log(self, row: Mapping[str, float]) -> None:
        """Print a row."""
        spent = time.process_time() - self.before
        print(f"  step {row['step']:>5.0f}: loss {row['loss']:.4f}, {spent:.0f} s of CPU", flush=True)

    def end(self) -> None:
        """Nothing is left to do."""


def of_blocks(label: str, data: Source, seed: int, name: str, **fields: Any) -> Trained:
    """A model with a U-Net of 2 × 2 blocks of pixels, trained unless an earlier run has kept it."""
    steps, known = UNET_STEPS[label], rows(data)
    folder = KEPT / f"{label}-{steps}-{seed}"
    if not folder.exists():
        print(f"\ntraining of {label}, {steps} steps of 64, seed {seed}", flush=True)
        model = create_model(name, rngs=nnx.Rngs(seed), data_range=[0.0, 1.0], **fields)
        held = ArraySource({"x": blocks(known["x"], 2), "y": known["y"]})
        changes = {"batch_size": 64, "log_every": 100, "callbacks": (Watch(),), **CONVOLUTIONS}
        fitted(model, held, steps, seed, **changes).save(folder)
    model: Any = load_model(folder)
    asked = {"y": np.arange(UNET_SAMPLES) % 10} if "y" in model.conditions else {}
    return Trained(
        model, lambda x: unblocked(x, 2), f"{steps} steps of 64", asked, UNET_SAMPLES, velocity=name == "flow_matching"
    )


def of_codes(data: Source, seed: int) -> Trained:
    """A model of codes of 7 × 7 × 3."""
    held = ArraySource({"x": 2 * blocks(rows(data)["x"], 4) - 1})  # the range that an autoencoder_kl takes
    first = {"coder": CODER, "adversarial_weight": 0.0}
    autoencoder = trained("autoencoder_kl", first, held, 300, seed, batch_size=32, **CONVOLUTIONS)
    network = PerceptronConfig(shape=(7, 7, 3), width=256, depth=3)
    config = LatentDiffusionConfig(
        autoencoder=autoencoder.config, diffusion=EDMConfig(network=network, data_range=None, sigma_data=1.0)
    )
    model = LatentDiffusion(config, rngs=nnx.Rngs(seed))
    model.adopt(autoencoder)
    measure_scale(model, held)
    codes = encode_all(model, ArraySource(held.take(np.arange(CODES))), batch_size=250)
    model.diffusion = fitted(model.diffusion, codes, STEPS, seed)
    model.eval()
    back = lambda x: unblocked(np.clip((x + 1) / 2, 0, 1), 4)  # noqa: E731
    budget = f"300 steps of 32 of the autoencoder, {STEPS} of 128 on codes of {CODES} pictures"
    return Trained(model, back, budget, {}, SAMPLES)


MODELS: dict[str, Callable[[Source, int], Trained]] = {
    "ddpm": lambda data, seed: of_blocks(
        "ddpm", data, seed, "ddpm", network=UNET, variance="fixed_small", clip_x0=True
    ),
    "flow_unet": lambda data, seed: of_blocks(
        "flow_unet", data, seed, "flow_matching", network={**UNET, "n_classes": 10}, label_dropout=0.1
    ),
    "ddpm_x0": lambda data, seed: of_pixels(
        "ddpm", data, seed, variance="fixed_small", prediction="x0", weight=PlainWeight(of="x0")
    ),
    "edm": lambda data, seed: of_pixels("edm", data, seed),
    "flow_matching": lambda data, seed: of_pixels("flow_matching", data, seed),
    "dit": lambda data, seed: of_pixels("dit", data, seed, network=TRANSFORMER, clip_x0=True),
    "latent_diffusion": of_codes,
}


def blocks(x: np.ndarray, side: int) -> np.ndarray:
    """Pictures with each block of side × side pixels as the channels of one place."""
    n = 28 // side
    return x.reshape(-1, n, side, n, side).transpose(0, 1, 3, 2, 4).reshape(-1, n, n, side**2)


def unblocked(x: np.ndarray, side: int) -> np.ndarray:
    """The inverse of `blocks`."""
    n = 28 // side
    return x.reshape(-1, n, n, side, side).transpose(0, 1, 3, 2, 4).reshape(-1, 28, 28, 1)


def judge() -> Judge:
    """The data and the classifier, with what it says about real pictures and noise."""
    known, real = (rows(load_dataset("mnist", split)) for split in ("train", "test"))
    classifier = mnist_classifier.train(known["x"], known["y"])
    found = Judge(known, real, classifier, moments(classifier.extractor.features(real["x"])))
    noise = np.random.default_rng(0).uniform(size=(SAMPLES, 28, 28, 1)).astype(np.float32)
    right = (found.classifier.labels(real["x"]) == real["y"]).mean()
    few, more = (f"{found.distance(known['x'][:n]):.1f}" for n in (UNET_SAMPLES, SAMPLES))
    print(f"\nFD[{found.classifier.extractor.key}] against the test set: {UNET_SAMPLES} of the training set {few}, "
          f"{SAMPLES} of it {more}, noise {found.distance(noise):.0f}; "
          f"the classifier is right on {right:.3f} of the test set")  # fmt: skip
    return found


def distance(names: list[str], seeds: list[int]) -> None:
    """FD[mnist_classifier] against evaluations."""
    found = judge()
    for name in names:
        for seed in seeds:
            before = time.process_time()
            data = load_dataset("mnist", "train")
            it = MODELS[name](data, seed)
            print(f"\n{name}, seed {seed}: {it.budget}, {time.process_time() - before:.0f} s of CPU")
            against_evaluations(it, seed, found.distance)
            if seed == 0:
                shown = it.draw(seed, solver=DPMSolver(), steps=20)[:40]
                Path(__file__).with_name(f"mnist_{name}.png").write_bytes(grid_png(shown, columns=20))
            print(f"  {time.process_time() - before:.0f} s of CPU in all", flush=True)


def guidance(seeds: list[int]) -> None:
    """Agreement with the label, and diversity, against the scale of classifier-free guidance."""
    found, asked = judge(), np.arange(GUIDED) % 10
    known, real = (it["x"].reshape(len(it["x"]), -1) for it in (found.known, found.real))
    neighbours = KNeighborsClassifier(3).fit(known[:10_000], found.known["y"][:10_000])
    own = np.mean([found.real["x"][found.real["y"] == k].std(0).mean() for k in range(10)])
    print(f"\nguidance: flow_unet, {UNET_STEPS['flow_unet']} steps of 64, {GUIDED} samples by DPM-Solver++ 2M in "
          f"{GUIDED_CALLS} steps; real pictures deviate by {own:.3f}")  # fmt: skip
    print("  seed scale  classifier  neighbours  deviation  recall      FD")
    for seed in seeds:
        it = MODELS["flow_unet"](load_dataset("mnist", "train"), seed)
        for scale in SCALES:
            options = {"solver": DPMSolver(), "steps": GUIDED_CALLS, "y": asked, "guidance": scale}
            x = it.model.sample(GUIDED, rngs=nnx.Rngs(100 + seed), batch_size=SAMPLES, **options)
            x = it.pictures(np.asarray(x))
            told = found.classifier.labels(x), neighbours.predict(x.reshape(GUIDED, -1))
            spread = np.mean([x[asked == k].std(0).mean() for k in range(10)])
            recall = value(Recall(), real[:GUIDED], x.reshape(GUIDED, -1))
            print(f"  {seed:>4} {scale:>5} {(told[0] == asked).mean():11.3f} {(told[1] == asked).mean():11.3f} "
                  f"{spread:10.3f} {recall:7.2f} {found.distance(x):7.1f}", flush=True)  # fmt: skip


def main() -> None:
    """The part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("train", "distance", "guidance", "summary"))
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    if data_folder() is None:
        sys.exit("MNIST: left out, no data folder (set ARTIFEX_DATA)")
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    if arguments.part == "train":
        for name in (name for name in arguments.models if name in UNET_STEPS):
            for seed in arguments.seeds:
                MODELS[name](load_dataset("mnist", "train"), seed)
    elif arguments.part == "distance":
        distance(arguments.models, arguments.seeds)
    elif arguments.part == "guidance":
        guidance(arguments.seeds)
    else:
        summary(arguments.file, f"FD[mnist_classifier], {SAMPLES} samples, of U-Nets {UNET_SAMPLES}")


if __name__ == "__main__":
    main()
