"""What several test files share: maps with lively parameters, and float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import assign, flatten, merge, select


@pytest.fixture
def x64():
    """float64 for the duration of a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def lively():
    """A function that moves a module's parameters at random, so that nothing is the identity."""

    def move(module, scale: float = 0.3, dtype: str | None = None):
        rng = np.random.default_rng(0)
        arrays = flatten(module)[1]
        moved = {}
        for name in sorted(select(module, nnx.Param)):
            noise = rng.standard_normal(arrays[name].shape)
            moved[name] = jnp.asarray(np.asarray(arrays[name]) + scale * noise, dtype or arrays[name].dtype)
        assign(module, arrays | moved)
        return module

    return move


@pytest.fixture(scope="session")
def laws():
    """A function that gives the largest errors of a map: of the round trip, and of log_det against autodiff."""

    def errors(bijector, x, context=None) -> dict[str, float]:
        layout, arrays = flatten(bijector)

        def run(arrays, x, context):
            bijector = merge(layout, arrays)
            z, log_det = bijector.forward(x, context)
            again, back = bijector.inverse(z, context)

            def one(row, c):
                return bijector.forward(row[None], None if c is None else c[None]).value[0]

            exact = jnp.linalg.slogdet(jax.vmap(jax.jacfwd(one))(x, context))[1]
            return {
                "round trip": jnp.abs(again - x).max(),
                "forward": jnp.abs(log_det - exact).max(),
                "inverse": jnp.abs(back + exact).max(),
            }

        return {name: float(error) for name, error in jax.jit(run)(arrays, x, context).items()}

    return errors
