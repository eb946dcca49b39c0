"""Stored arrays where they are, and `solve` with its coefficients as arguments."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.diffusion.grid import Grid
from artifex.diffusion.solver import Linear, solve


def reference_folder() -> Path | None:
    """The folder that ARTIFEX_REFERENCE names, or `shared/reference` in or beside a folder above."""
    named = os.environ.get("ARTIFEX_REFERENCE")
    if named:
        return Path(named)
    found = (parent / "shared" / "reference" for parent in (Path.cwd(), *Path.cwd().parents))
    return next((path for path in found if path.is_dir()), None)


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of the stored arrays; a test that asks for it is skipped where there is none."""
    place = reference_folder()
    if place is None or not (place / "diffusion").is_dir():
        pytest.skip("no stored arrays; name their folder in ARTIFEX_REFERENCE")
    return place / "diffusion"


@pytest.fixture(scope="session")
def stored(reference):
    """The stored trajectories by name."""
    return np.load(reference / "dg_reference.npz").__getitem__


NOWHERE = Grid(*np.zeros((3, 1)))  # the rows say it all


class Given(Linear):
    """A solver of rows that were computed elsewhere."""

    def __init__(self, rows, memory):
        self.rows, self.memory = rows, memory

    def coefficients(self, grid):
        return self.rows


@functools.partial(jax.jit, static_argnames=("memory", "denoise", "keep"))
def _run(rows, xt, key, *, memory, denoise, keep):
    return solve(denoise, xt, NOWHERE, Given(rows, memory), rngs=nnx.Rngs(key), keep=keep)


@pytest.fixture(scope="session")
def run():
    """`solve` as numpy, where solvers of equal structure share a program."""

    def run(denoise, xt, grid, solver, *, keep="last", seed=0):
        rows = jax.tree.map(jnp.asarray, solver.coefficients(grid))
        key = jax.random.key(seed)
        return np.asarray(_run(rows, jnp.asarray(xt), key, memory=solver.memory, denoise=denoise, keep=keep))

    return run
