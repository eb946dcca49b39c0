"""Samples of the diffusion family against data, on two cores.

digits   8 × 8 of scikit-learn, a perceptron, 4,000 steps of 128, averaged weights. FD[pixels] of 1,000 samples against
         all 1,797 digits, and how many of the samples the nearest digit puts into each class. Three seeds.
networks the same of a transformer, DiT with classes, with estimates of x₀ clipped and, of the same weights, without;
         and of a perceptron on the codes of an autoencoder_kl, which is trained first, whose reconstructions have an
         FD[pixels] of their own. A picture of each.
modes    25 Gaussians: modes that were found, and the share of samples within 3 deviations of one; the same of the
         solver with the exact denoiser.
density  eight Gaussians: log p of held-out points by the flow, against the truth with the noise that is left in; by
         the exact score too.
guidance digits with labels: for each scale, how often the three nearest real digits are of the label asked for,
         the deviation of a pixel within a class, and recall.

python benchmarks/diffusion_quality.py [digits] [networks] [modes] [density] [guidance]
    [--steps N] [--seeds N] [--models NAME ...] [--points N]
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
import jax.numpy as jnp
import numpy as np
from flax import nnx
from gan_quality import value
from sklearn.neighbors import KNeighborsClassifier

from artifex.core import OptimizerConfig, Trainer, TrainerConfig, create_model, load_dataset
from artifex.core.data.source import ArraySource, Source
from artifex.core.data.toys import TOYS, circle, grid_centres
from artifex.core.evaluation.manifold import Recall
from artifex.core.evaluation.picture import grid_png
from artifex.core.leaves import flatten, merge
from artifex.core.prob.divergence import frechet
from artifex.diffusion import (
    EDMConfig,
    LatentDiffusion,
    LatentDiffusionConfig,
    PerceptronConfig,
    encode_all,
    measure_scale,
)
from artifex.diffusion.exact import Mixture
from artifex.diffusion.likelihood import log_prob
from artifex.diffusion.sampling import start_scale
from artifex.diffusion.schedule import RectifiedFlow
from artifex.diffusion.solver import solve

DIT_STEPS = 50  # of sampling
# By itself, one step a call: in a scan the gradient of a convolution is slow on CPUs.
CONVOLUTIONS = {"steps_per_call": 1}
NETWORK = {"shape": [8, 8, 1], "width": 256, "depth": 3}
SCALES = (0.0, 1.0, 2.0, 4.0)  # of guidance
PLANE = {"shape": [2], "width": 128, "depth": 3}
DIGITS: dict[str, tuple[str, dict[str, Any]]] = {
    # The last step of the cosine schedule divides errors of ε by 0.03: clipped, as the published samplers are.
    "ddpm, T = 100, cosine": (
        "ddpm",
        {"schedule": {"rule": "cosine", "steps": 100}, "variance": "fixed_small", "clip_x0": True},
    ),
    "edm, Heun 18": ("edm", {}),
    "flow_matching, Heun 25": ("flow_matching", {}),
    "score_sde, PC 100": ("score_sde", {"steps": 100}),
}


def trained(name: str, fields: dict[str, Any], data: Any, steps: int, seed: int, **changes: Any) -> Any:
    """A model with averaged weights after `steps`."""
    return fitted(create_model(name, rngs=nnx.Rngs(seed), **fields), data, steps, seed, **changes)


def fitted(model: Any, data: Any, steps: int, seed: int, *, callbacks: Any = (), **changes: Any) -> Any:
    """The model with averaged weights after `steps`; `changes` are other fields of the trainer's config."""
    optimizer = OptimizerConfig(learning_rate=1e-3, schedule="cosine", warmup_steps=min(100, steps // 10))
    usual = {"batch_size": 128, "ema_decay": 0.995, "log_every": 1000, "steps_per_call": 10, "optimizer": optimizer}
    trainer = Trainer(model, TrainerConfig(steps=steps, seed=seed, **(usual | changes)), callbacks=callbacks)
    trainer.fit(data)
    return trainer.model(ema=True)


def rows(source: Any) -> dict[str, np.ndarray]:
    """All rows of a source."""
    return {name: np.asarray(value) for name, value in source.take(np.arange(len(source))).items()}


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of flattened rows."""
    flat = x.reshape(len(x), -1).astype(float)
    return flat.mean(0), np.cov(flat, rowvar=False)


def fd_pixels(x: np.ndarray, real: np.ndarray) -> float:
    """FD[pixels]."""
    return frechet(*moments(x), *moments(real))


def class_counts(x: np.ndarray, real: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How many samples have their nearest digit in each class."""
    a, b = x.reshape(len(x), -1), real.reshape(len(real), -1)
    squares = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    return np.bincount(y[squares.argmin(1)], minlength=10)


def all_digits() -> dict[str, np.ndarray]:
    """All 1,797 of them."""
    parts = [rows(load_dataset("digits", split)) for split in ("train", "test")]
    return {name: np.concatenate([part[name] for part in parts]) for name in ("x", "y")}


def digits(steps: int, seeds: range) -> None:
    """FD[pixels] and classes on digits."""
    data, real = load_dataset("digits", "train"), all_digits()
    half = np.random.default_rng(0).permutation(len(real["x"]))
    floor = fd_pixels(real["x"][half[:898]], real["x"][half[898:]])
    print(f"\ndigits: {steps} steps of 128, seeds {list(seeds)}; FD[pixels], half against half {floor:.2f}")
    print(f"  {'model':<24} {'median':>7}  {'each seed':<24} {'rarest class':>12} {'CPU s a run':>12}")
    for label, (name, fields) in DIGITS.items():
        before, found = time.process_time(), []
        for seed in seeds:
            model = trained(name, {"network": NETWORK, "data_range": [0.0, 1.0], **fields}, data, steps, seed)
            x = np.asarray(model.sample(1000, rngs=nnx.Rngs(100 + seed)))
            found.append((fd_pixels(x, real["x"]), class_counts(x, real["x"], real["y"]).min()))
        each = " ".join(f"{fd:.2f}" for fd, _ in found)
        cpu = (time.process_time() - before) / len(seeds)
        rarest = min(count for _, count in found)
        print(
            f"  {label:<24} {np.median([fd for fd, _ in found]):7.2f}  {each:<24} {rarest:12d} {cpu:12.0f}", flush=True
        )


def dit(data: Source, steps: int, seed: int) -> Any:
    """A transformer with classes."""
    network = {"shape": [8, 8, 1], "patch": 4, "depth": 3, "width": 128, "n_heads": 4, "n_classes": 10}
    return trained("dit", {"network": network, "data_range": [0.0, 1.0], "clip_x0": True}, data, steps, seed)


def of_dit(data: Source, steps: int, seed: int) -> tuple[np.ndarray, str]:
    """Samples of a transformer with classes, a hundred of each."""
    model = dit(data, steps, seed)
    options = {"y": np.arange(1000) % 10, "steps": DIT_STEPS, "batch_size": 250}
    x = np.asarray(model.sample(1000, rngs=nnx.Rngs(100 + seed), **options))
    found, least = noise_errors(model.diffusion, rows(data), 0.8)
    model.diffusion.config = model.diffusion.config.replace(clip_x0=False)
    free = np.asarray(model.sample(1000, rngs=nnx.Rngs(100 + seed), **options))
    return x, (f"of class, {DIT_STEPS} ancestral steps; without clipping {fd_pixels(free, all_digits()['x']):.2f}; "
               f"error of ε at t = 0.8 {found:.5f}, least {least:.5f}")  # fmt: skip


def noise_errors(model: Any, known: dict[str, np.ndarray], t: float) -> tuple[float, float]:
    """Mean squares of the error of ε at time t: the network's, and that of the exact mean over the data of a class."""
    x0, y, schedule = (2 * known["x"] - 1).reshape(len(known["x"]), -1), known["y"], model.config.schedule
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    eps = np.random.default_rng(0).standard_normal(x0.shape).astype(np.float32)
    xt = alpha * x0 + sigma * eps
    said = model.mean_network(jnp.asarray(xt).reshape(known["x"].shape), schedule.condition(jnp.full(len(y), t)), y)
    fit = (alpha * xt @ x0.T - 0.5 * alpha**2 * (x0**2).sum(1)) / sigma**2
    weight = jax.nn.softmax(jnp.where(y[:, None] == y, fit, -jnp.inf), axis=1)
    exact = (xt - alpha * np.asarray(weight) @ x0) / sigma
    found, least = (float(((np.asarray(it).reshape(eps.shape) - eps) ** 2).mean()) for it in (said, exact))
    return found, least


def latent(data: Source, steps: tuple[int, int], seed: int) -> tuple[LatentDiffusion, np.ndarray]:
    """A model of codes of 4 × 4 × 2, after steps of its autoencoder and of its own; and what is decoded from codes."""
    held = ArraySource({"x": 2 * rows(data)["x"] - 1})  # the range that an autoencoder_kl takes
    coder = {"type": "coder", "shape": [8, 8, 1], "widths": [16, 32], "n_blocks": 1, "latent": 2, "groups": 8}
    fields = {"coder": coder, "adversarial_weight": 0.0}
    autoencoder = trained("autoencoder_kl", fields, held, steps[0], seed, **CONVOLUTIONS)
    network = PerceptronConfig(shape=(4, 4, 2), width=256, depth=3)
    diffusion = EDMConfig(network=network, data_range=None, sigma_data=1.0)
    config = LatentDiffusionConfig(autoencoder=autoencoder.config, diffusion=diffusion)
    model = LatentDiffusion(config, rngs=nnx.Rngs(seed))
    model.adopt(autoencoder)
    measure_scale(model, held)
    codes = encode_all(model, held)
    model.diffusion = fitted(model.diffusion, codes, steps[1], seed)
    model.eval()
    return model, np.asarray(model.to_data(jnp.asarray(rows(codes)["x"])))


def of_latent(data: Source, steps: int, seed: int) -> tuple[np.ndarray, str]:
    """Samples by way of codes, half of the steps for the autoencoder."""
    model, back = latent(data, (steps // 2, 2 * steps), seed)
    x = np.asarray(model.sample(1000, rngs=nnx.Rngs(100 + seed), batch_size=250))
    return np.clip((x + 1) / 2, 0, 1), f"reconstructions {fd_pixels((back + 1) / 2, rows(data)['x']):.2f}"


NETWORKS = {"dit": of_dit, "latent_diffusion": of_latent}


def networks(steps: int, seeds: range, models: list[str]) -> None:
    """FD[pixels] and classes on digits, by a transformer and by codes."""
    data, real = load_dataset("digits", "train"), all_digits()
    print(f"\ndigits by other networks: {steps // 2} steps of 128; latent_diffusion {steps // 4} of the autoencoder "
          f"and {steps} on its codes; seeds {list(seeds)}")  # fmt: skip
    print(f"  {'model':<17} seed  FD[pixels]  rarest class  CPU s")
    for label in models:
        for seed in seeds:
            before = time.process_time()
            x, note = NETWORKS[label](data, steps // 2, seed)
            if seed == 0:
                Path(__file__).with_name(f"digits_{label}.png").write_bytes(grid_png(x[:60], columns=20))
            found = fd_pixels(x, real["x"]), class_counts(x, real["x"], real["y"]).min()
            cpu = time.process_time() - before
            print(f"  {label:<17} {seed:>4} {found[0]:11.2f} {found[1]:13d} {cpu:6.0f}  {note}", flush=True)


def modes(steps: int, seeds: range, points: int) -> None:
    """Modes of 25 Gaussians."""
    data, exact = (
        load_dataset({"type": "twenty_five_gaussians", "n": points}),
        Mixture(grid_centres(), np.full(2, 0.05**2)),
    )
    print(
        f"\n25 Gaussians of deviation 0.05, {points} points: {steps} steps of 128, seeds {list(seeds)}, 2,000 samples"
    )
    for name in ("edm", "flow_matching"):
        fields = {"network": PLANE, "data_range": None, **({"sigma_data": 2.8} if name == "edm" else {})}
        print(f"  {name:<14} exact : {found_modes(exact_samples(name, fields, exact))}", flush=True)
        for seed in seeds:
            model = trained(name, fields, data, steps, seed)
            x = model.sample(2000, rngs=nnx.Rngs(100 + seed))
            print(f"  {name:<14} seed {seed}: {found_modes(x)}", flush=True)


def exact_samples(name: str, fields: dict[str, Any], exact: Mixture) -> jax.Array:
    """What a model would draw if its network were exact."""
    config = create_model(name, rngs=nnx.Rngs(0), **fields).config
    grid = config.grid(config.schedule, config.steps)
    start = start_scale(grid) * jax.random.normal(jax.random.key(0), (2000, 2))
    return jax.jit(lambda xt: solve(exact.denoiser(config.schedule), xt, grid, config.solver))(start)


def found_modes(x: jax.Array) -> str:
    """How many of the 25 were found, and the share of samples that are near one."""
    gaps = np.linalg.norm(np.asarray(x)[:, None] - grid_centres(), axis=-1)
    near = gaps.min(1) < 3 * 0.05
    return f"{len(set(gaps.argmin(1)[near]))} modes, {near.mean():.3f} within 3 deviations"


def log_likelihood(model: Any, x: np.ndarray) -> np.ndarray:
    """log p(x) by the model's flow, nats."""
    layout, arrays = flatten(model)
    return np.asarray(jax.jit(lambda arrays, x: merge(layout, arrays).log_prob(x))(arrays, x))


def density(steps: int, seeds: range, points: int) -> None:
    """Log-likelihood of eight Gaussians by the flow."""
    toy, schedule = TOYS["eight_gaussians"], RectifiedFlow()
    data = load_dataset({"type": "eight_gaussians", "n": points})
    x = toy.sample(1000, seed=12345)
    true = toy.log_prob(x)
    print(f"\neight Gaussians, {points} points: {steps} steps of 128, seeds {list(seeds)}; mean log p of 1,000, nats")
    exact = Mixture(circle(np.arange(8) / 8, 2.0), np.full(2, 0.2**2)).denoiser(schedule)
    print(f"  exact score: mean error {np.abs(log_prob(exact, jnp.asarray(x), schedule) - true).mean():.5f}")
    for seed in seeds:
        model = trained("flow_matching", {"network": PLANE, "data_range": None}, data, steps, seed)
        found = log_likelihood(model, x)
        print(f"  flow_matching seed {seed}: {found.mean():.3f}, true {true.mean():.3f}, "
              f"mean error {np.abs(found - true).mean():.3f}", flush=True)  # fmt: skip


def guidance(steps: int, seeds: range) -> None:
    """Agreement with the label, and diversity, against the scale of classifier-free guidance."""
    data, test = (load_dataset("digits", split) for split in ("train", "test"))
    known, asked = rows(data), np.arange(1000) % 10
    judge = KNeighborsClassifier(3).fit(known["x"].reshape(len(data), -1), known["y"])
    real = rows(test)["x"]
    own = np.mean([known["x"][known["y"] == k].std(0).mean() for k in range(10)])
    print(f"\nguidance on digits: flow_matching, {steps} steps of 128, 1,000 samples; real digits deviate by {own:.3f}")
    print("  seed scale  agreement  deviation  recall")
    for seed in seeds:
        network = {**NETWORK, "n_classes": 10}
        fields = {"network": network, "data_range": [0.0, 1.0], "label_dropout": 0.1}
        model = trained("flow_matching", fields, data, steps, seed)
        for scale in SCALES:
            x = np.asarray(model.sample(1000, rngs=nnx.Rngs(100 + seed), y=asked, guidance=scale))
            agreement = (judge.predict(x.reshape(1000, -1)) == asked).mean()
            spread = np.mean([x[asked == k].std(0).mean() for k in range(10)])
            print(
                f"  {seed:>4} {scale:>5} {agreement:>10.3f} {spread:>10.3f} {value(Recall(), real, x):>7.2f}",
                flush=True,
            )


PARTS = {part.__name__: part for part in (digits, networks, modes, density, guidance)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    parser.add_argument("--steps", type=int, default=4000, help="of training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--points", type=int, default=10_000, help="to train toys on")
    parser.add_argument("--models", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS), help="of networks")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"expected parts among {', '.join(PARTS)}, got {sorted(unknown)}")
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    for name in (name for name in PARTS if name in arguments.parts):
        extra = {"networks": "models", "modes": "points", "density": "points"}.get(name)
        chosen = {} if extra is None else {extra: getattr(arguments, extra)}
        PARTS[name](arguments.steps, range(arguments.seeds), **chosen)
