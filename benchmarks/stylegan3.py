"""StyleGAN3: equivariance at random weights and after training, and what the filtered nonlinearity gives and costs.

random     64 pixels, default configs, magnitudes of the measured pictures; claims:
               stylegan3_t    EQ-T >= 60 dB, between pixels >= 60 dB, EQ-R < 30 dB
               stylegan3_r    EQ-T >= 75 dB, between pixels >= 70 dB, EQ-R >= 65 dB
           `behind` has the nonlinearity at the pixels, behind the filters, not between them; `bare` has no filters,
           and repeats entries where the rate doubles: without filters, EQ-T loses >= 20 dB
times      products with banded matrices take at most half of the CPU time of the same filters as two-dimensional
           convolutions; beside them the same filters as separable convolutions for each channel. CPU seconds, the
           least of `ROUNDS` rounds of one canvas of 84 × 84 × 64, forward and with a gradient
trained    a small stylegan3_t with classes on MNIST, padded to 32 × 32: how often a perceptron fitted to real pictures
           gives samples the class that was asked for, FD in its hidden features, and equivariance of the averaged
           generator, before and during training

    python benchmarks/stylegan3.py [random] [times] [trained] [--pictures 2] [--moves 4] [--steps 12000]
                                   [--run FOLDER] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from gan_quality import Judge, pictures, scores

from artifex.core import Trainer, TrainerConfig, load_dataset
from artifex.core.data.source import ArraySource
from artifex.core.evaluation.picture import grid_png
from artifex.core.leaves import flatten, merge
from artifex.core.training.config import ObjectiveOptimizer
from artifex.gan.adversarial import decay_for
from artifex.gan.equalised import leaky
from artifex.gan.equivariance import rotation_equivariance, translation_equivariance
from artifex.gan.filters import filtered_leaky_relu, low_pass, resample
from artifex.gan.stylegan3 import (
    Stage,
    StyleGAN3,
    StyleGAN3R,
    StyleGAN3RConfig,
    StyleGAN3T,
    StyleGAN3TConfig,
    filters_between,
    placement,
    schedule,
)

ROUNDS = 3
GATES = {  # from, below
    "stylegan3_t": ((60, math.inf), (60, math.inf), (-math.inf, 30)),
    "stylegan3_r": ((75, math.inf), (70, math.inf), (65, math.inf)),
}
MODELS = {"stylegan3_t": (StyleGAN3T, StyleGAN3TConfig), "stylegan3_r": (StyleGAN3R, StyleGAN3RConfig)}
SMALL: dict[str, Any] = {"z_dim": 16, "w_dim": 64, "base": 256, "max_channels": 16, "n_layers": 4}
SMALL |= {"critic_scale": 2, "gamma": 10.0}
RATE = 5e-3  # of both sides, twice the paper's: narrow networks change less by steps of weights of variance 1
BATCH, PARTS = 8, 8  # rows of a step; parts of the training, after each of which a line is printed
Act = Callable[[jax.Array], jax.Array]


def whole(synthesis: Any, w: jax.Array, transform: jax.Array, *, decay: float) -> jax.Array:
    """The layers as they are."""
    return synthesis(w, transform, decay=decay)


def replaced(act: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The layers with another nonlinearity: act(x, stage before, stage after, rotation)."""

    def draw(synthesis: Any, w: jax.Array, transform: jax.Array, *, decay: float) -> jax.Array:
        x, before = synthesis.input(w, transform), synthesis.stages[0]
        for layer, after in zip(list(synthesis.layers)[:-1], synthesis.stages, strict=False):
            x, before = act(layer(x, w, demodulate=True, decay=decay), before, after, synthesis.rotation), after
        return 0.25 * synthesis.layers[-1](x, w, demodulate=False, decay=decay)

    return draw


def behind(x: jax.Array, before: Stage, after: Stage, rotation: bool) -> jax.Array:
    """Leaky ReLU at the pixels, behind both filters."""
    up, down = filters_between(before, after, rotation=rotation)
    return leaky(resample(resample(x, up), down))


def bare(x: jax.Array, before: Stage, after: Stage, rotation: bool) -> jax.Array:
    """Leaky ReLU without filters: entries are repeated where the rate doubles, and the canvas is cut to its size."""
    x = leaky(x)
    for axis in (1, 2):
        x = x.repeat(after.rate // before.rate, axis)
        edge = (x.shape[axis] - after.size) // 2
        x = jax.lax.slice_in_dim(x, edge, edge + after.size, axis=axis)
    return x


def renderer(model: StyleGAN3, n: int, draw: Callable[..., jax.Array], first_decay: float) -> Callable[..., jax.Array]:
    """Pictures of n styles under (shift, angle); `first_decay` 0 sets the magnitudes to those of these pictures."""
    layout, arrays = flatten(model.generator)
    z = jnp.asarray(np.random.default_rng(0).standard_normal((n, model.config.z_dim)), jnp.float32)
    y = jnp.arange(n) % model.config.n_classes if model.config.n_classes else None

    @jax.jit
    def picture(arrays, by, angle, decay):
        generator = merge(layout, arrays)
        x = draw(generator.synthesis, generator.mapping.style(z, y), placement(by, angle), decay=decay)
        return x, flatten(generator)[1]

    _, arrays = picture(arrays, (0.0, 0.0), 0.0, first_decay)
    return lambda by, angle: picture(arrays, by, angle, 1.0)[0]


def equivariance(
    model: StyleGAN3, n: int, moves: int, *, draw: Callable[..., jax.Array] = whole, first_decay: float = 0.0
) -> tuple[float, float, float]:
    """EQ-T of whole shifts, EQ-T of others, EQ-R, in dB."""
    render, side = renderer(model, n, draw, first_decay), model.config.shape[0]
    rng = np.random.default_rng(0)
    shifts, angles = rng.uniform(-side / 8, side / 8, (moves, 2)), rng.uniform(0, 2 * np.pi, moves)
    return (
        translation_equivariance(render, [(float(x), float(y)) for x, y in shifts.round()]),
        translation_equivariance(render, [(float(x), float(y)) for x, y in shifts]),
        rotation_equivariance(render, [float(angle) for angle in angles]),
    )


def report_random(n: int, moves: int) -> None:
    """Equivariance at random weights, with and without the filters of the nonlinearity."""
    print(f"\n{n} pictures, {moves} moves, seed 0, random weights, 64 pixels; dB")
    print("  model               EQ-T   between   EQ-R")
    for name, (model, config) in MODELS.items():
        made = model(config(), rngs=nnx.Rngs(0))
        found = equivariance(made, n, moves)
        kept = all(low <= value < high for value, (low, high) in zip(found, GATES[name], strict=True))
        print(f"  {name:<14} {line(found)}   {'kept' if kept else 'NOT KEPT'}", flush=True)
        for act in (behind, bare):
            lost = equivariance(made, n, moves, draw=replaced(act))
            print(f"    {act.__name__:<12} {line(lost)}   {found[0] - lost[0]:.0f} dB of EQ-T lost", flush=True)


def line(found: tuple[float, float, float]) -> str:
    """Three figures of a table."""
    return f"{found[0]:9.1f} {found[1]:9.1f} {found[2]:6.1f}"


def convolve(x: jax.Array, taps: np.ndarray, *, up: int, down: int, pad: tuple[int, int]) -> jax.Array:
    """A filter [height, width] on each channel alone."""
    channels = x.shape[-1]
    kernel = jnp.broadcast_to(jnp.asarray(taps, x.dtype)[:, :, None, None], (*taps.shape, 1, channels))
    axes = [(up, down, p) if size > 1 else (1, 1, 0) for size, p in zip(taps.shape, pad, strict=True)]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        [a[1] for a in axes],
        [(a[2], a[2]) for a in axes],
        lhs_dilation=[a[0] for a in axes],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )


def acts() -> tuple[dict[str, Act], jax.Array]:
    """The nonlinearity of a layer at 64 pixels in three ways, and its canvas."""
    before = schedule(StyleGAN3TConfig())[8]
    up, down = filters_between(before, before, rotation=False)
    entries, fine, factor = before.size + 2, up.rows.shape[1], 2
    raised = 2 * low_pass(12, before.band(2 * before.rate))
    lowered = low_pass(12, before.band(2 * before.rate))
    pad = (fine - 1 + 11 - (entries - 1) * factor) // 2

    def bend(x):
        return jnp.sqrt(2.0) * jax.nn.leaky_relu(x, 0.2)

    def square(x):
        x = convolve(x, np.outer(raised, raised), up=2, down=1, pad=(pad, pad))
        return convolve(bend(x), np.outer(lowered, lowered), up=1, down=2, pad=(0, 0))

    def separable(x):
        x = convolve(x, raised[:, None], up=2, down=1, pad=(pad, 0))
        x = bend(convolve(x, raised[None], up=2, down=1, pad=(0, pad)))
        return convolve(
            convolve(x, lowered[:, None], up=1, down=2, pad=(0, 0)), lowered[None], up=1, down=2, pad=(0, 0)
        )

    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, entries, entries, 64)), jnp.float32)
    return {
        "banded matrices": lambda x: filtered_leaky_relu(x, up, down),
        "separable convolutions": separable,
        "2-D convolutions": square,
    }, x


def seconds(act: Act, x: jax.Array) -> float:
    """CPU seconds of one call, the least of some."""
    run = jax.jit(act)
    run(x).block_until_ready()
    found = []
    for _ in range(ROUNDS):
        start = time.process_time()
        run(x).block_until_ready()
        found.append(time.process_time() - start)
    return min(found)


def report_times() -> None:
    """CPU seconds of the nonlinearity, alone and with its gradient."""
    ways, x = acts()
    reference = np.asarray(ways["2-D convolutions"](x))
    print(f"\nfiltered nonlinearity on {x.shape[1:]}: CPU seconds forward, with gradient, largest difference")
    for name, act in ways.items():
        slope = jax.grad(lambda x, act=act: (act(x) ** 2).sum())
        apart = np.abs(np.asarray(act(x)) - reference).max()
        print(f"  {name:24s} {seconds(act, x):8.4f} {seconds(slope, x):8.4f} {apart:10.1e}", flush=True)


def mnist_at_32(split: str) -> ArraySource:
    """MNIST with a black border of two pixels."""
    source = load_dataset("mnist", split)
    x, y = pictures(source)
    return ArraySource({"x": np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))), "y": y}, name="mnist at 32")


def trainer_of(steps: int, run: str | None) -> Trainer:
    """A small stylegan3_t with classes, the optimizers of the paper but for RATE; at its checkpoint, if it has one."""
    if run and Path(run).exists():
        return Trainer.resume(run)
    config = StyleGAN3TConfig(shape=(32, 32, 1), range=(0.0, 1.0), n_classes=10, ada_target=None, **SMALL)
    sides = [
        ObjectiveOptimizer(objective=name, learning_rate=RATE, betas=(0.0, 0.99)) for name in ("generator", "critic")
    ]
    decay = decay_for(BATCH * 10_000 / 32, BATCH)
    options = TrainerConfig(steps=steps, batch_size=BATCH, optimizers=tuple(sides), log_every=100, ema_decay=decay)
    return Trainer(StyleGAN3T(config, rngs=nnx.Rngs(0)), options, run_dir=run)


def report_trained(steps: int, run: str | None, out: str | None) -> None:
    """How well samples are recognised, and equivariance, before and during training."""
    train_set, test_set = mnist_at_32("train"), mnist_at_32("test")
    judge, trainer = Judge(train_set, test_set), trainer_of(steps, run)
    real = judge.features(pictures(test_set)[0])
    print(f"\nstylegan3_t on MNIST at 32 pixels: {SMALL}, batches of {BATCH}, rate {RATE}, seed 0")
    print(f"judge's accuracy on held-out pictures {judge.accuracy:.3f}; FD[judge] of 1,000 samples; dB")
    print("  steps  label       FD precision  recall      EQ-T   between   EQ-R  CPU s")
    before, y = time.process_time(), np.arange(1000) % 10
    for part in range(1 if trainer.step else 0, PARTS + 1):
        if part:
            trainer.fit(train_set, steps=steps // PARTS)
        spent, model = time.process_time() - before, trainer.model(ema=True)
        x = np.asarray(model.sample(len(y), rngs=nnx.Rngs(1), y=y, batch_size=100))
        moved = equivariance(model, 8, 4, first_decay=1.0 if trainer.step else 0.0)
        found = f"{judge.agreement(x, y):6.3f} {scores(real, judge.features(x))} {line(moved)} {spent:6.0f}"
        print(f"  {trainer.step:>5} {found}", flush=True)
        if out:
            Path(out).mkdir(parents=True, exist_ok=True)
            Path(out, f"stylegan3_{trainer.step}.png").write_bytes(grid_png(x[:40], columns=10))


def main() -> None:
    """The parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["random", "times", "trained"])
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--moves", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12_000, help="of the training; more of them, where it goes on")
    parser.add_argument("--run", help="the run folder of the training, which goes on from there")
    parser.add_argument("--out", help="a folder for pictures of samples")
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    if "random" in options.parts:
        report_random(options.pictures, options.moves)
    if "times" in options.parts:
        report_times()
    if "trained" in options.parts:
        report_trained(options.steps, options.run, options.out)


if __name__ == "__main__":
    main()
