"""Time of a WGAN-GP step against torch, eager: the same networks, batches and updates, in turn on one thread.

A step is five critic updates with gradient penalty and one of the generator, Adam on both sides. CPU seconds a step,
the median of the rounds; the aim is at most 0.7 of torch's on perceptrons and 1.5 on convolutions.

    python benchmarks/gan_speed.py [--rounds 7] [--steps 20]
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy as np
import torch
from flax import nnx
from torch import nn

from artifex.core import OptimizerConfig, Trainer, TrainerConfig, create_model

CRITIC_STEPS, ROWS, LATENT, WIDTH = 5, 64, 128, 32
CASES = {
    "mlp": ({"type": "mlp", "hidden_dims": (256, 256, 256)}, (64,)),
    "conv": ({"type": "conv", "width": WIDTH, "norm": "none", "critic_norm": "none"}, (32, 32, 3)),
}


def ours(case: str, x: np.ndarray, steps: int) -> Callable[[], None]:
    """A function that makes some steps of our trainer."""
    networks, shape = CASES[case]
    limits = None if case == "mlp" else (-1.0, 1.0)
    model = create_model("wgan_gp", rngs=nnx.Rngs(0), shape=shape, range=limits, z_dim=LATENT, networks=networks)
    optimizer = OptimizerConfig(learning_rate=1e-4, betas=(0.0, 0.9))
    config = TrainerConfig(steps=10**6, batch_size=CRITIC_STEPS * ROWS, log_every=steps, optimizer=optimizer)
    trainer = Trainer(model, config)

    def go() -> None:
        trainer.fit(x, steps=steps)
        jax.block_until_ready(trainer.state)

    return go


def networks_in_torch(case: str) -> tuple[nn.Module, nn.Module]:
    """Generator and critic of the same layers."""
    if case == "mlp":
        hidden = CASES[case][0]["hidden_dims"]

        def stack(sizes: tuple[int, ...]) -> nn.Module:
            layers = [m for i, o in itertools.pairwise(sizes) for m in (nn.Linear(i, o), nn.LeakyReLU())]
            return nn.Sequential(*layers[:-1])

        return stack((LATENT, *hidden, 64)), stack((64, *hidden, 1))
    w = [4 * WIDTH, 2 * WIDTH, WIDTH]
    generator = nn.Sequential(
        nn.Linear(LATENT, 16 * w[0]), nn.Unflatten(1, (w[0], 4, 4)), nn.ReLU(),
        nn.ConvTranspose2d(w[0], w[1], 4, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(w[1], w[2], 4, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(w[2], 3, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    critic = nn.Sequential(
        nn.Conv2d(3, w[2], 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(w[2], w[1], 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(w[1], w[0], 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(w[0], 1, 4), nn.Flatten(),
    )  # fmt: skip
    return generator, critic


def theirs(case: str, x: np.ndarray, steps: int) -> Callable[[], None]:
    """A function that makes as many steps in torch."""
    torch.set_num_threads(1)
    generator, critic = networks_in_torch(case)
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-4, betas=(0.0, 0.9)) for net in (critic, generator)]
    data = torch.tensor(x if x.ndim == 2 else x.transpose(0, 3, 1, 2).copy())

    def penalty(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        u = torch.rand(len(real), *[1] * (real.ndim - 1))
        between = (u * real + (1 - u) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return 10 * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()

    def go() -> None:
        for _ in range(steps):
            for _ in range(CRITIC_STEPS):
                real = data[torch.randint(len(data), (ROWS,))]
                fake = generator(torch.randn(ROWS, LATENT)).detach()
                loss = critic(fake).mean() - critic(real).mean() + penalty(real, fake)
                optimizers[0].zero_grad()
                loss.backward()
                optimizers[0].step()
            loss = -critic(generator(torch.randn(ROWS, LATENT))).mean()
            optimizers[1].zero_grad()
            loss.backward()
            optimizers[1].step()

    return go


def seconds(go: Callable[[], None]) -> float:
    """CPU seconds that a call takes."""
    before = time.process_time()
    go()
    return time.process_time() - before


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    print(f"jax {jax.__version__}, torch {torch.__version__}, one thread; {options.rounds} x {options.steps} steps")
    for case, (_, shape) in CASES.items():
        x = np.tanh(np.random.default_rng(0).standard_normal((1280, *shape))).astype(np.float32)
        sides = [make(case, x, options.steps) for make in (ours, theirs)]
        for go in sides:
            go()
        rounds = [[seconds(go) / options.steps for go in sides] for _ in range(options.rounds)]
        mine, others = (statistics.median(times) for times in zip(*rounds, strict=True))
        ratio = statistics.median(a / b for a, b in rounds)
        print(
            f"  {case:<5} artifex {1e3 * mine:8.1f} ms, torch {1e3 * others:8.1f} ms a step, ratio {ratio:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
