"""Autoregressive transforms: their Jacobian, and two ways to invert them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.nn.masked import MADE
from artifex.flow.affine import Exponential, Gate
from artifex.flow.autoregressive import Autoregressive
from artifex.flow.spline import Spline

DIM, CONTEXT = 6, 2
SCALARS = {"affine": Exponential(), "gate": Gate(), "spline": Spline(4, 3.0)}


def transform(kind: str, solve: str) -> Autoregressive:
    made = MADE(DIM, SCALARS[kind].n_params, (16,), context_dim=CONTEXT, activation="tanh", rngs=nnx.Rngs(0))
    return Autoregressive(SCALARS[kind], made, solve)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.standard_normal((5, DIM)), rng.standard_normal((5, CONTEXT))


@pytest.mark.parametrize(("kind", "solve"), [("affine", "jacobi"), ("spline", "jacobi"), ("gate", "sequential")])
def test_autoregressive_transforms_keep_the_laws(x64, rows, lively, laws, kind, solve):
    x, c = (jnp.asarray(part) for part in rows)
    errors = laws(lively(transform(kind, solve), dtype="float64"), x, c)
    assert max(errors.values()) < 1e-10, errors


def test_the_jacobian_is_lower_triangular_with_every_entry(x64, rows, lively):
    part = lively(transform("affine", "jacobi"), dtype="float64")
    x, c = (jnp.asarray(part) for part in rows)
    found = jax.jit(jax.jacfwd(lambda row: part.forward(row[None], c[:1]).value[0]))(x[0])
    np.testing.assert_array_equal(np.asarray(found) != 0, np.tri(DIM, dtype=bool))


def test_sequential_and_jacobi_give_the_same(rows, lively):
    z, c = (jnp.asarray(part, jnp.float32) for part in rows)
    a, b = (jax.jit(lively(transform("affine", solve)).inverse)(z, c).value for solve in ("jacobi", "sequential"))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_jacobi_stops_before_d_sweeps_where_little_depends_on_little(rows, lively):
    part = lively(transform("affine", "jacobi"), scale=0.02)
    z, c = (jnp.asarray(part, jnp.float32) for part in rows)
    start = transform("affine", "jacobi")  # its network gives zeros: the first sweep is the answer, the second sees it
    assert int(jax.jit(start.sweeps)(z, c).n_sweeps) <= 2
    assert int(jax.jit(part.sweeps)(z, c).n_sweeps) <= DIM


def test_a_row_does_not_depend_on_its_neighbours(lively):
    made = MADE(24, SCALARS["spline"].n_params, (32,), activation="tanh", rngs=nnx.Rngs(0))
    inverse = jax.jit(lively(Autoregressive(SCALARS["spline"], made), scale=0.2).inverse)
    z = jnp.asarray(np.random.default_rng(0).standard_normal((400, 24)), jnp.float32)
    for i in range(8):
        alone = jnp.full_like(z, 9).at[i].set(z[i])  # the others take fewer sweeps
        np.testing.assert_array_equal(inverse(z).value[i], inverse(alone).value[i])


def test_a_gradient_passes_through_the_sequential_inverse(x64, rows, lively):
    part = lively(transform("gate", "sequential"), dtype="float64")
    z, c = (jnp.asarray(part) for part in rows)
    by_inverse = jax.jit(jax.jacrev(lambda row: part.inverse(row[None], c[:1]).value[0]))(z[0])
    x = part.inverse(z, c).value
    by_forward = jax.jit(jax.jacfwd(lambda row: part.forward(row[None], c[:1]).value[0]))(x[0])
    np.testing.assert_allclose(by_inverse @ by_forward, np.eye(DIM), atol=1e-10)
