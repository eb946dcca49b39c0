"""Five diffusion models on MNIST: distance against evaluations of the network, and guidance by labels.

distance  FD[mnist_classifier] of 250 samples against the 10,000 pictures of the test set, at 5, 10, 20, 50 and 100
          evaluations, by solvers of four kinds: of first order, stochastic, of second order in one step and in
          several. Weights are averaged. A picture of samples in 20 evaluations.
guidance  flow matching with labels: for each scale, how often the classifier, and how often the three nearest
          training pictures, are of the label asked for; deviation of a pixel within a class; recall of 1,000 samples.
summary   medians over seeds and the picture, of the lines that the other parts printed into a file.

The budget is a minute or two of one core for each model, and is printed: perceptrons for ddpm, edm and flow_matching, a
transformer of 7 × 7 patches for dit, and for latent_diffusion a perceptron on the codes of an autoencoder_kl, which
sees 4 × 4 blocks of pixels as channels. 256 units cannot give back the noise of 784 pixels, so what ddpm says about ε
is of no use at this size; ddpm_x0 is the same with a network that predicts x₀. The features are those of the perceptron
that mnist_classifier.py trains.

    python benchmarks/diffusion_mnist.py distance [--models NAME ...] [--seeds N ...]
    python benchmarks/diffusion_mnist.py guidance [--seeds N ...]
    python benchmarks/diffusion_mnist.py summary FILE
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import mnist_classifier
import numpy as np
from diffusion_quality import CONVOLUTIONS, fitted, moments, rows, trained
from diffusion_solvers import EVALUATIONS
from flax import nnx
from gan_quality import value
from sklearn.neighbors import KNeighborsClassifier

from artifex.core import load_dataset
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
from artifex.diffusion.solver import DDIMSolver, Heun
from artifex.diffusion.weighting import PlainWeight

SAMPLES = 250  # of a distance, and of one call
SOLVERS: dict[str, tuple[Any, int]] = {  # solver, evaluations a step
    "DDIM": (DDIMSolver(), 1),
    "DDIM, η = 1": (DDIMSolver(eta=1.0), 1),
    "Heun": (Heun(), 2),
    "DPM-Solver++ 2M": (DPMSolver(), 1),
}
SCALES = (0.0, 1.0, 2.0, 4.0)  # of guidance
GUIDED_CALLS = 20  # of guidance
STEPS = 2000  # of training, of the perceptrons
PERCEPTRON = {"shape": [28, 28, 1], "width": 256, "depth": 3}
LABELLED = {**PERCEPTRON, "n_classes": 10}
TRANSFORMER = {"shape": [28, 28, 1], "patch": 7, "depth": 3, "width": 64, "n_heads": 4, "n_classes": 10}
CODER = {"type": "coder", "shape": [7, 7, 16], "widths": [64], "n_blocks": 1, "latent": 3, "groups": 8}
SIDE, CODES = 4, 20_000  # of a block; pictures that are encoded


class Trained(NamedTuple):
    """A model, how it is asked, and how its samples become pictures in [0, 1]."""

    model: Any
    pictures: Callable[[np.ndarray], np.ndarray]
    budget: str
    options: dict[str, Any]


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
    return Trained(model, lambda x: x, f"{steps} steps of 128", asked)


def of_codes(data: Source, seed: int) -> Trained:
    """A model of codes of 7 × 7 × 3."""
    held = ArraySource({"x": 2 * blocks(rows(data)["x"]) - 1})  # the range that an autoencoder_kl takes
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
    back = lambda x: unblocked(np.clip((x + 1) / 2, 0, 1))  # noqa: E731
    return Trained(model, back, f"300 steps of 32 of the autoencoder, {STEPS} of 128 on codes of {CODES} pictures", {})


MODELS: dict[str, Callable[[Source, int], Trained]] = {
    "ddpm": lambda data, seed: of_pixels("ddpm", data, seed, variance="fixed_small", clip_x0=True),
    "ddpm_x0": lambda data, seed: of_pixels(
        "ddpm", data, seed, variance="fixed_small", prediction="x0", weight=PlainWeight(of="x0")
    ),
    "edm": lambda data, seed: of_pixels("edm", data, seed),
    "flow_matching": lambda data, seed: of_pixels("flow_matching", data, seed),
    "dit": lambda data, seed: of_pixels("dit", data, seed, network=TRANSFORMER, clip_x0=True),
    "latent_diffusion": of_codes,
}


def blocks(x: np.ndarray) -> np.ndarray:
    """Pictures with each block of pixels as the channels of one place."""
    n = 28 // SIDE
    return x.reshape(-1, n, SIDE, n, SIDE).transpose(0, 1, 3, 2, 4).reshape(-1, n, n, SIDE**2)


def unblocked(x: np.ndarray) -> np.ndarray:
    """The inverse of `blocks`."""
    n = 28 // SIDE
    return x.reshape(-1, n, n, SIDE, SIDE).transpose(0, 1, 3, 2, 4).reshape(-1, 28, 28, 1)


def judge() -> Judge:
    """The data and the classifier, with what it says about real pictures and noise."""
    known, real = (rows(load_dataset("mnist", split)) for split in ("train", "test"))
    classifier = mnist_classifier.train(known["x"], known["y"])
    found = Judge(known, real, classifier, moments(classifier.extractor.features(real["x"])))
    noise = np.random.default_rng(0).uniform(size=(SAMPLES, 28, 28, 1)).astype(np.float32)
    right = (found.classifier.labels(real["x"]) == real["y"]).mean()
    print(f"\nFD[{found.classifier.extractor.key}] against the test set: {SAMPLES} of the training set "
          f"{found.distance(known['x'][:SAMPLES]):.1f}, noise {found.distance(noise):.0f}; "
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
            print(f"  {'evaluations':<18}" + "".join(f"{n:>8}" for n in EVALUATIONS), flush=True)
            for label, (solver, calls) in SOLVERS.items():
                if label == "Heun" and name == "flow_matching":
                    solver = Heun(slope="velocity")  # the only one that starts without signal
                row = []
                for n in EVALUATIONS:
                    # The last step of Heun's rule is one call.
                    options = {"solver": solver, "steps": (n + 1) // 2 if calls == 2 else n, **it.options}
                    x = it.model.sample(SAMPLES, rngs=nnx.Rngs(100 + seed), **options)
                    row.append(found.distance(it.pictures(np.asarray(x))))
                print(f"  {label:<18}" + "".join(f"{fd:8.1f}" for fd in row), flush=True)
            if seed == 0:
                options = {"solver": DPMSolver(), "steps": 20, **it.options}
                x = it.model.sample(SAMPLES, rngs=nnx.Rngs(100 + seed), **options)
                shown = it.pictures(np.asarray(x))[:40]
                Path(__file__).with_name(f"mnist_{name}.png").write_bytes(grid_png(shown, columns=20))
            print(f"  {time.process_time() - before:.0f} s of CPU in all", flush=True)


def guidance(seeds: list[int]) -> None:
    """Agreement with the label, and diversity, against the scale of classifier-free guidance."""
    found, asked = judge(), np.arange(1000) % 10
    known, real = (it["x"].reshape(len(it["x"]), -1) for it in (found.known, found.real))
    neighbours = KNeighborsClassifier(3).fit(known[:10_000], found.known["y"][:10_000])
    own = np.mean([found.real["x"][found.real["y"] == k].std(0).mean() for k in range(10)])
    print(f"\nguidance: flow_matching with labels, {STEPS} steps of 128, 1,000 samples by DPM-Solver++ 2M in "
          f"{GUIDED_CALLS} steps; real pictures deviate by {own:.3f}")  # fmt: skip
    print("  seed scale  classifier  neighbours  deviation  recall      FD")
    for seed in seeds:
        it = of_pixels("flow_matching", load_dataset("mnist", "train"), seed, network=LABELLED, label_dropout=0.1)
        for scale in SCALES:
            options = {"solver": DPMSolver(), "steps": GUIDED_CALLS, "y": asked, "guidance": scale}
            x = np.asarray(it.model.sample(1000, rngs=nnx.Rngs(100 + seed), batch_size=SAMPLES, **options))
            told = found.classifier.labels(x), neighbours.predict(x.reshape(1000, -1))
            spread = np.mean([x[asked == k].std(0).mean() for k in range(10)])
            print(f"  {seed:>4} {scale:>5} {(told[0] == asked).mean():11.3f} {(told[1] == asked).mean():11.3f} "
                  f"{spread:10.3f} {value(Recall(), real[:1000], x.reshape(1000, -1)):7.2f} {found.distance(x):7.1f}",
                  flush=True)  # fmt: skip


Distances = dict[str, dict[str, np.ndarray]]  # model, solver: a row a seed


def read(path: Path) -> Distances:
    """The distances that `distance` printed into a file."""
    found: dict[str, dict[str, list[list[float]]]] = {}
    name = ""
    for line in path.read_text(encoding="utf8").splitlines():
        name = line.split(",")[0] if ", seed " in line else name
        label, cells = line[2:20].strip(), line[20:].split()
        if label in SOLVERS and len(cells) == len(EVALUATIONS):
            found.setdefault(name, {}).setdefault(label, []).append([float(cell) for cell in cells])
    return {name: {label: np.array(seeds) for label, seeds in of.items()} for name, of in found.items()}


def summary(path: Path) -> None:
    """Medians over seeds, and the picture."""
    found = read(path)
    print(f"\nmedians over seeds of FD[mnist_classifier], {SAMPLES} samples")
    print(f"  {'model':<18}{'solver':<18}{'seeds':>5}" + "".join(f"{n:>8}" for n in EVALUATIONS))
    for name, of in found.items():
        for label, seeds in of.items():
            cells = "".join(f"{fd:8.1f}" for fd in np.median(seeds, 0))
            print(f"  {name:<18}{label:<18}{len(seeds):>5}{cells}")
    path.with_suffix(".svg").write_text(chart(found), encoding="utf8")


def chart(found: Distances) -> str:
    """A panel a model, both axes logarithmic, a line a solver."""
    medians = np.log(np.array([[np.median(seeds, 0) for seeds in of.values()] for of in found.values()]))
    low, high = medians.min() - 0.1, medians.max() + 0.1
    height = lambda value: np.interp(value, [low, high], [240, 30])  # noqa: E731
    lines = []
    for panel, (name, rows_of) in enumerate(zip(found, medians, strict=True)):
        left = 50 + 170 * panel
        x = np.interp(np.log(EVALUATIONS), np.log([EVALUATIONS[0], EVALUATIONS[-1]]), [left, left + 140])
        lines.append(f'<text x="{left + 70}" y="18" text-anchor="middle">{name}</text>')
        lines += [
            f'<text x="{a:.0f}" y="258" text-anchor="middle">{n}</text>' for a, n in zip(x, EVALUATIONS, strict=True)
        ]
        for tick in (t for t in (5, 10, 20, 50, 100, 200, 500, 1000) if low < np.log(t) < high):
            lines.append(f'<path d="M{left} {height(np.log(tick)):.0f}h140" stroke="#ddd"/>')
            if panel == 0:
                lines.append(f'<text x="44" y="{height(np.log(tick)) + 4:.0f}" text-anchor="end">{tick}</text>')
        for i, row in enumerate(rows_of):
            way = "L".join(f"{a:.1f} {height(b):.1f}" for a, b in zip(x, row, strict=True))
            lines.append(f'<path d="M{way}" fill="none" stroke="{colour(i)}" stroke-width="2"/>')
    for i, label in enumerate(SOLVERS):
        lines.append(f'<text x="{50 + 150 * i}" y="300" fill="{colour(i)}">{label}</text>')
    lines.append(f'<text x="{50 + 150 * len(SOLVERS)}" y="300">FD[mnist_classifier] against evaluations</text>')
    style = 'font-family="sans-serif" font-size="13"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {60 + 170 * len(found)} 315" {style}>'
    return "\n".join([head, *lines, "</svg>", ""])


def colour(i: int) -> str:
    """That of a solver."""
    return f"hsl({i * 360 // len(SOLVERS)} 65% 42%)"


def main() -> None:
    """The part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("distance", "guidance", "summary"))
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    if data_folder() is None:
        sys.exit("MNIST: left out, no data folder (set ARTIFEX_DATA)")
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    if arguments.part == "distance":
        distance(arguments.models, arguments.seeds)
    elif arguments.part == "guidance":
        guidance(arguments.seeds)
    else:
        summary(arguments.file)


if __name__ == "__main__":
    main()
