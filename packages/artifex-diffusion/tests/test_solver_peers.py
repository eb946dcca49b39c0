"""Deterministic solvers beside the schedulers of diffusers, where it is installed, on an exact denoiser."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from artifex.diffusion.exact import Mixture
from artifex.diffusion.grid import Grid
from artifex.diffusion.multistep import DEIS, DPMSolver, UniPC
from artifex.diffusion.schedule import Discrete
from artifex.diffusion.solver import DDIMSolver

MU, VAR = np.linspace(-1.5, 1.5, 6), np.linspace(0.05, 1.2, 6)
X_T = np.random.RandomState(0).randn(4, 6)
EXACT = Mixture(MU[None], VAR).denoiser(Discrete())
PEERS = {
    "DDIM": ("DDIMScheduler", {"clip_sample": False}, DDIMSolver()),
    "DPM-Solver++ 2M": ("DPMSolverMultistepScheduler", {"final_sigmas_type": "zero"}, DPMSolver()),
    "UniPC 2": ("UniPCMultistepScheduler", {"final_sigmas_type": "zero", "lower_order_final": True}, UniPC(order=2)),
    "DEIS 2": ("DEISMultistepScheduler", {}, DEIS()),
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("n", [8, 25])
@pytest.mark.parametrize("name", PEERS)
def test_solver_follows_diffusers(name, n, run):
    """The same path from the same start; its tables are float32, and its DEIS divides logarithms by small gaps."""
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    kind, options, solver = PEERS[name]
    scheduler = getattr(diffusers, kind)(beta_start=1e-4, beta_end=0.02, timestep_spacing="trailing", **options)
    scheduler.set_timesteps(n)
    steps, alpha_bar = scheduler.timesteps.numpy(), scheduler.alphas_cumprod.double().numpy()
    x, path = torch.from_numpy(X_T), [X_T]
    for t in steps:
        a, s = np.sqrt(alpha_bar[t]), np.sqrt(1 - alpha_bar[t])
        noise = s * (x.numpy() - a * MU) / (a**2 * VAR + s**2)
        x = scheduler.step(torch.from_numpy(noise), t, x).prev_sample.double()
        path.append(x.numpy())
    last = getattr(scheduler, "sigmas", [0.0])[-1]  # σ/α
    alpha = np.append(np.sqrt(alpha_bar[steps]), 1 / np.sqrt(1 + float(last) ** 2))
    grid = Grid(np.append((steps + 1) / 1000, 0.0), alpha, np.sqrt(1 - alpha**2))
    close = 2e-5 if name == "DEIS 2" else 5e-6
    np.testing.assert_allclose(run(EXACT, X_T, grid, solver, keep="all"), path, atol=close, rtol=close)
