"""Couplings: what passes, what moves, and the log-determinant."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.flow.affine import Bounded
from artifex.flow.couple import Coupling, Pointwise, Swap, passing
from artifex.flow.networks import Conditioner, MLPConfig, ResNetConfig
from artifex.flow.spline import Spline

DIM, CONTEXT = 5, 2
NETS = {"mlp": MLPConfig(hidden_dims=(8,)), "resnet": ResNetConfig(width=8, n_blocks=1)}


def coupling(kind: str, net: str) -> Coupling:
    rngs = nnx.Rngs(0)
    scalar = Bounded(2, rngs=rngs) if kind == "affine" else Spline(4, 3.0)
    own = Pointwise(3, Spline(4, 3.0), rngs=rngs) if kind == "own splines" else None
    return Coupling(DIM, scalar, Conditioner(NETS[net], (3, 2), scalar.n_params, context_dim=CONTEXT, rngs=rngs), own)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.standard_normal((6, DIM)), rng.standard_normal((6, CONTEXT))


@pytest.mark.parametrize(("kind", "net"), [("affine", "mlp"), ("spline", "resnet"), ("own splines", "mlp")])
def test_couplings_keep_the_laws(x64, rows, lively, laws, kind, net):
    x, c = (jnp.asarray(part) for part in rows)
    errors = laws(lively(coupling(kind, net), dtype="float64"), x, c)
    assert max(errors.values()) < 1e-10, errors


def test_the_first_half_passes_and_moves_the_second_with_the_context(rows, lively):
    part = lively(coupling("affine", "mlp"))
    x, c = (jnp.asarray(part, jnp.float32) for part in rows)
    z = part.forward(x, c).value
    np.testing.assert_array_equal(z[:, :3], x[:, :3])
    moved = [part.forward(x.at[:, 0].add(1), c), part.forward(x, c + 1), part.forward(x.at[:, 4].add(1), c)]
    assert [bool(jnp.abs(m.value[:, 3] - z[:, 3]).max() > 1e-3) for m in moved] == [True, True, False]


@pytest.mark.parametrize("dim", [2, 3, 4, 5, 9])
def test_swaps_bring_every_number_behind_the_split(dim):
    order, moved = jnp.arange(float(dim))[None], set()
    for _ in range(3):
        moved |= set(np.asarray(order[0, passing(dim) :]))
        swapped = Swap(dim).forward(order).value
        np.testing.assert_array_equal(Swap(dim).inverse(swapped).value, order)
        order = swapped
    assert moved == set(range(dim))


def test_a_coupling_of_one_number_is_refused():
    with pytest.raises(ValueError, match="expected vectors of at least 2 numbers, got 1"):
        Coupling(1, Spline(), None)
