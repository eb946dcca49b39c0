"""Solvers compared: orders of convergence, and sample quality against evaluations of the network.

orders   ring of eight Gaussians with its exact denoiser, float64, λ = log α/σ from −4 to 4 in equal steps (and the same
         for all solvers), against RK4 in 8,192 steps: root mean square error at 128 and 1,024 steps, and the order
         log₂ of the ratio of errors at 512 and 1,024.
digits   EDM on the digits of scikit-learn (4,000 steps, see diffusion_quality.py): FD[pixels] of 1,000 samples
         against all 1,797 at 5, 10, 20, 50 and 100 evaluations, three seeds of noise, as a table and a picture.

python benchmarks/diffusion_solvers.py [orders] [digits] [--steps N] [--seeds N]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from artifex.core import load_dataset
from artifex.diffusion.exact import Mixture
from artifex.diffusion.grid import UniformLogSNR
from artifex.diffusion.multistep import DEIS, LMS, PNDM, DPMSolver, UniPC
from artifex.diffusion.schedule import VPLinear
from artifex.diffusion.solver import RK4, DDIMSolver, Heun, solve

sys.path.insert(0, str(Path(__file__).parent))
from diffusion_quality import NETWORK, fd_pixels, rows, trained
from diffusion_table import EVALUATIONS

ORDERS: dict[str, tuple[Any, int]] = {
    "DDIM, Euler": (DDIMSolver(), 1),
    "Heun in σ/α": (Heun(), 2),
    "Heun in velocity": (Heun(slope="velocity"), 2),
    "DPM-Solver++ 2S": (DPMSolver(singlestep=True), 2),
    "DPM-Solver++ 3S": (DPMSolver(order=3, singlestep=True), 3),
    "DPM-Solver++ 2M": (DPMSolver(), 2),
    "DPM-Solver++ 3M": (DPMSolver(order=3), 3),
    "UniPC bh2, order 1": (UniPC(order=1), 2),
    "UniPC bh2, order 2": (UniPC(order=2), 3),
    "UniPC bh2, order 3": (UniPC(order=3), 4),
    "UniPC bh1, order 2": (UniPC(order=2, variant="bh1"), 3),
    "DEIS, order 2": (DEIS(order=2), 2),
    "DEIS, order 3": (DEIS(order=3), 3),
    "LMS, order 3": (LMS(order=3), 3),
    "LMS, order 4": (LMS(order=4), 4),
    "PNDM": (PNDM(), 2),
    "RK4": (RK4(), 4),
}
FAMILIES: dict[str, tuple[Any, int]] = {  # solver, evaluations a step
    "DDIM": (DDIMSolver(), 1),
    "DDIM, η = 1": (DDIMSolver(eta=1.0), 1),
    "Heun": (Heun(), 2),
    "DPM-Solver++ 2M": (DPMSolver(), 1),
    "DPM-Solver++ 3M": (DPMSolver(order=3), 1),
    "SDE-DPM-Solver++": (DPMSolver(stochastic=True), 1),
    "UniPC 2": (UniPC(), 1),
    "DEIS 2": (DEIS(), 1),
    "LMS 4": (LMS(), 1),
}


def orders(largest: int) -> None:
    """Errors and orders on the ring."""
    with jax.enable_x64(True):
        angles = np.arange(8) * np.pi / 4
        ring = Mixture(2 * np.stack([np.cos(angles), np.sin(angles)], -1), np.full(2, 0.04))
        schedule = VPLinear()
        span = UniformLogSNR(t_max=float(schedule.inverse_log_snr(-8.0)), t_min=float(schedule.inverse_log_snr(8.0)))
        start = jnp.asarray(np.random.RandomState(1).randn(256, 2))

        def end(solver: Any, n: int) -> np.ndarray:
            return np.asarray(jax.jit(lambda x: solve(ring.denoiser(schedule), x, span(schedule, n), solver))(start))

        truth = end(RK4(), 8 * largest)
        print(f"\nring of eight Gaussians, against RK4 in {8 * largest} steps")
        print(f"  {'solver':<20} {'theory':>6} {largest // 8:>10} {largest:>10} {'order':>7}")
        for name, (solver, theory) in ORDERS.items():
            counts = (largest // 8, largest // 2, largest)
            coarse, middle, fine = (np.sqrt(((end(solver, n) - truth) ** 2).mean()) for n in counts)
            print(f"  {name:<20} {theory:6d} {coarse:10.2e} {fine:10.2e} {np.log2(middle / fine):7.2f}", flush=True)


def digits(steps: int, seeds: range) -> None:
    """FD[pixels] against evaluations."""
    data, test = (load_dataset("digits", split) for split in ("train", "test"))
    real = np.concatenate([rows(data)["x"], rows(test)["x"]])
    model = trained("edm", {"network": NETWORK, "data_range": [0.0, 1.0]}, data, steps, 0)
    print(f"\nEDM on digits, {steps} steps; FD[pixels], median of noise seeds {list(seeds)}")
    print(f"  {'evaluations':<18}" + "".join(f"{n:>8}" for n in EVALUATIONS))
    found: dict[str, list[float]] = {}
    for name, (solver, calls) in FAMILIES.items():
        found[name] = []
        for n in EVALUATIONS:
            count = (n + 1) // 2 if calls == 2 else n  # the last step of Heun's rule is one call
            samples = (model.sample(1000, rngs=nnx.Rngs(100 + s), solver=solver, steps=count) for s in seeds)
            found[name].append(float(np.median([fd_pixels(np.asarray(x), real) for x in samples])))
        print(f"  {name:<18}" + "".join(f"{fd:8.2f}" for fd in found[name]), flush=True)
    picture(found, Path(__file__).with_suffix(".svg"))


def picture(found: dict[str, list[float]], path: Path) -> None:
    """Both axes logarithmic, a line a solver."""
    x = np.interp(np.log(EVALUATIONS), np.log([EVALUATIONS[0], EVALUATIONS[-1]]), [60, 440])
    values = np.log(np.array(list(found.values())))
    low, high = values.min() - 0.1, values.max() + 0.1
    lines = [f'<text x="{a:.0f}" y="345" text-anchor="middle">{n}</text>' for a, n in zip(x, EVALUATIONS, strict=True)]
    for tick in (t for t in (0.2, 0.5, 1, 2, 5, 10, 20) if low < np.log(t) < high):
        y = np.interp(np.log(tick), [low, high], [320, 20])
        lines.append(f'<text x="50" y="{y + 4:.0f}" text-anchor="end">{tick:g}</text>')
        lines.append(f'<path d="M60 {y:.0f}H440" stroke="#ddd"/>')
    for i, (name, row) in enumerate(zip(found, values, strict=True)):
        colour = f"hsl({i * 360 // len(found)} 65% 42%)"
        y = np.interp(row, [low, high], [320, 20])
        path_d = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
        lines.append(f'<path d="{path_d}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines.append(f'<text x="455" y="{30 + 20 * i}" fill="{colour}">{name}</text>')
    lines.append('<text x="250" y="368" text-anchor="middle">evaluations of the network</text>')
    lines.append('<text x="60" y="12">FD[pixels], digits</text>')
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 380" font-family="sans-serif" font-size="13">'
    path.write_text("\n".join([head, *lines, "</svg>", ""]), encoding="utf8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["orders", "digits"])
    parser.add_argument("--steps", type=int, default=4000, help="of training")
    parser.add_argument("--seeds", type=int, default=3, help="of sampling noise")
    parser.add_argument("--largest", type=int, default=1024, help="steps of the finest grid in orders")
    arguments = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    if "orders" in arguments.parts:
        orders(arguments.largest)
    if "digits" in arguments.parts:
        digits(arguments.steps, range(arguments.seeds))
