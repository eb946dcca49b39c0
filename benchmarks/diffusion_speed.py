"""Sampling and training of a U-Net, paired with diffusers and torch on equal weights.

The network has 1,112,801 parameters and sees 28 × 28 pictures. Both sides run in this process, turn about, on one
thread; figures are CPU seconds, the least and the median of the rounds, because wall time on shared cores says little.
The samples of both sides are compared first: only equal work is timed.

    python benchmarks/diffusion_speed.py [--rounds 5] [--steps 50] [--batch 16]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import diffusers
import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from artifex.core import OptimizerConfig, Trainer, TrainerConfig
from artifex.core.leaves import flatten, merge
from artifex.diffusion import DDIM, DDIMConfig, UNetConfig
from artifex.diffusion.grid import Custom
from artifex.diffusion.guidance import labelled_cfg
from artifex.diffusion.solver import DDIMSolver, solve
from artifex.diffusion.weights import UNET, load_weights

TRAIN_BATCH = 32


def pair() -> tuple[DDIM, diffusers.UNet2DModel]:
    """The same network twice, with equal weights of which none is zero."""
    torch.manual_seed(0)
    other = diffusers.UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_eps=1e-6,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        attention_head_dim=64,
    )
    model = DDIM(DDIMConfig(network=UNetConfig(), data_range=None), rngs=nnx.Rngs(0))
    load_weights(model.network, {name: jnp.asarray(x.numpy()) for name, x in other.state_dict().items()}, UNET)
    return model, other


def timed(run: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    before = time.process_time()
    run()
    return time.process_time() - before


def turn_about(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each, in turn."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            spent[name].append(timed(run))
    return spent


def show(title: str, spent: dict[str, list[float]], reach: str) -> None:
    """A table with ratios to the first of the other library."""
    print(f"\n{title}; reach: {reach}")
    base = next(values for name, values in spent.items() if name.startswith(("diffusers", "torch", "plain")))
    for name, values in spent.items():
        print(
            f"  {name:<34} least {min(values):7.3f} s   median {np.median(values):7.3f} s   "
            f"ratio of least {min(values) / min(base):5.2f}",
            flush=True,
        )


def sampling(model: DDIM, other: diffusers.UNet2DModel, args: argparse.Namespace) -> None:
    """DDIM on both sides, and ours as a loop over a compiled step."""
    layout, arrays = flatten(model)
    index = np.arange(args.steps)[::-1] * (1000 // args.steps)
    grid = Custom(t=[*((index + 1) / 1000).tolist(), 0.0])(model.config.schedule, args.steps)
    noise = np.random.default_rng(0).standard_normal((args.batch, 28, 28, 1)).astype(np.float32)
    scheduler = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(args.steps)
    solver = DDIMSolver()

    @jax.jit
    def whole(arrays, xt):
        return solve(merge(layout, arrays).denoiser(), xt, grid, solver)

    rows = jax.tree.map(jnp.asarray, solver.coefficients(grid))

    @jax.jit
    def one(arrays, state, i):
        row = jax.tree.map(lambda column: column.astype(jnp.float32)[i], rows)
        return solver.step(merge(layout, arrays).denoiser(), state, row, lambda k: None)

    def loop():
        state = solver.init(jnp.asarray(noise))
        for i in range(args.steps):
            state = one(arrays, state, i)
        return np.asarray(state.x)

    @torch.inference_mode()
    def theirs():
        x = torch.tensor(noise.transpose(0, 3, 1, 2))
        for t in scheduler.timesteps:
            x = scheduler.step(other(x, t).sample, t, x, eta=0.0).prev_sample
        return x.numpy().transpose(0, 2, 3, 1)

    other.eval()
    ours = lambda: np.asarray(whole(arrays, jnp.asarray(noise)))  # noqa: E731
    print(f"compile of the sampler: {timed(ours) - timed(ours):.1f} s of CPU")
    gap = np.abs(ours() - theirs()).max() / np.abs(theirs()).max()
    print(f"samples of both sides differ by {gap:.1e} of their largest entry")
    assert gap < 1e-3
    loop()
    spent = turn_about(
        {"ours, one scan": ours, "ours, a loop over a step": loop, "diffusers, eager": theirs}, args.rounds
    )
    show(f"{args.steps} DDIM steps, batch {args.batch}", spent, "scan <= 0.9 of diffusers, <= 0.95 of the loop")


def guided(args: argparse.Namespace) -> None:
    """A guided step against a plain one, within its interval and outside."""
    config = DDIMConfig(network=UNetConfig(n_classes=10), data_range=None, label_dropout=0.1)
    layout, arrays = flatten(DDIM(config, rngs=nnx.Rngs(0)))
    xt = jnp.asarray(np.random.default_rng(0).standard_normal((args.batch, 28, 28, 1)), jnp.float32)
    y, null = jnp.zeros(args.batch, jnp.int32), jnp.full(args.batch, 10)

    def steps(interval: tuple[float, float] | None) -> Callable[[], object]:
        @jax.jit
        def run(arrays, xt, t):
            denoiser = merge(layout, arrays).denoiser()
            if interval is None:
                return denoiser(xt, t, y)
            return labelled_cfg(denoiser, (y, null), 2.0, interval=interval)(xt, t)

        call = lambda: [run(arrays, xt, jnp.float32(0.5)).block_until_ready() for _ in range(10)]  # noqa: E731
        call()
        return call

    runs = {"plain": steps(None), "guided": steps((0.0, 1.0)), "guided, outside its interval": steps((0.8, 1.0))}
    show(f"10 steps with guidance, batch {args.batch}", turn_about(runs, args.rounds), "<= 2.1, outside <= 1.1")


def training(model: DDIM, other: diffusers.UNet2DModel, args: argparse.Namespace) -> None:
    """A step of Adam on both sides."""
    x = np.random.default_rng(0).standard_normal((TRAIN_BATCH, 28, 28, 1)).astype(np.float32)
    config = TrainerConfig(
        steps=10_000, batch_size=TRAIN_BATCH, log_every=1000, optimizer=OptimizerConfig(learning_rate=2e-4)
    )
    trainer = Trainer(model, config)
    adam = torch.optim.Adam(other.parameters(), lr=2e-4)
    alpha_bar = torch.tensor(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), dtype=torch.float32)

    def theirs():
        other.train()
        for _ in range(args.train_steps):
            x0, t = torch.tensor(x.transpose(0, 3, 1, 2)), torch.randint(0, 1000, (TRAIN_BATCH,))
            eps, a = torch.randn_like(x0), alpha_bar[t].view(-1, 1, 1, 1)
            loss = ((other(a.sqrt() * x0 + (1 - a).sqrt() * eps, t).sample - eps) ** 2).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        return loss.item()

    def ours():
        return trainer.fit({"x": x}, steps=args.train_steps)

    first = timed(ours)
    print(f"\ncompile of the training step: {first - timed(ours):.1f} s of CPU")
    spent = turn_about({"ours": ours, "torch, eager": theirs}, args.rounds)
    show(f"{args.train_steps} training steps, batch {TRAIN_BATCH}", spent, "<= 1.5 of torch, aim 1.2")


def memory(model: DDIM) -> None:
    """Temporary bytes of the compiled sampler, which do not grow with its steps."""
    layout, arrays = flatten(model)
    xt = jnp.zeros((4, 28, 28, 1))

    def bytes_of(n: int) -> int:
        grid = Custom(t=[*np.linspace(1, 0.1, n).round(3).tolist(), 0.0])(model.config.schedule, n)
        run = jax.jit(lambda arrays, xt: solve(merge(layout, arrays).denoiser(), xt, grid, DDIMSolver()))
        return run.lower(arrays, xt).compile().memory_analysis().temp_size_in_bytes

    few, many = bytes_of(10), bytes_of(100)
    print(f"\ntemporary memory at 10 and 100 steps: {few / 2**20:.2f} and {many / 2**20:.2f} MiB")


def main() -> None:
    """All parts."""
    parser = argparse.ArgumentParser()
    for name, value in (("rounds", 5), ("steps", 50), ("batch", 16), ("train-steps", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    torch.set_num_threads(1)
    versions = f"jax {jax.__version__}, torch {torch.__version__}, diffusers {diffusers.__version__}"
    print(f"{versions}, one thread, load {os.getloadavg()[0]:.1f}\nXLA_FLAGS {os.environ['XLA_FLAGS']}")
    model, other = pair()
    memory(model)
    sampling(model, other, args)
    guided(args)
    training(model, other, args)


if __name__ == "__main__":
    main()
