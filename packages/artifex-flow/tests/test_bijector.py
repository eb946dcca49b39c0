"""Composition of maps: chains, loops over stacked layers, inverses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten, merge
from artifex.core.nn.masked import MADE
from artifex.flow.affine import Exponential
from artifex.flow.autoregressive import Autoregressive
from artifex.flow.bijector import Chain, Inverse, ScanChain, directions
from artifex.flow.linear import ActNorm, LULinear, Permute, Reverse

DIM, CONTEXT = 3, 2


def layer(rngs: nnx.Rngs) -> Chain:
    """A layer of every kind that keeps something: a drawn order, parameters, statistics of a first batch."""
    made = MADE(DIM, 2, (8,), context_dim=CONTEXT, rngs=rngs)
    return Chain(
        Permute(DIM, rngs=rngs),
        LULinear(DIM, rngs=rngs),
        ActNorm((DIM,), rngs=rngs),
        Autoregressive(Exponential(), made, "sequential"),
    )


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.standard_normal((5, DIM))), jnp.asarray(rng.standard_normal((5, CONTEXT)))


def unrolled(chain: ScanChain) -> Chain:
    """The layers of a loop one by one."""
    layout, arrays = flatten(chain.layers)
    return Chain(*(merge(layout, {k: a[i] for k, a in arrays.items()}) for i in range(chain.n_layers)))


def test_a_loop_over_stacked_layers_is_the_chain_of_them(x64, rows, lively):
    loop = lively(ScanChain(layer, 3, rngs=nnx.Rngs(0)), dtype="float64")
    chain = unrolled(loop)
    orders = [np.asarray(part.bijectors[0].order[...]).tolist() for part in chain.bijectors]
    assert any(order != orders[0] for order in orders)  # or a loop that used its first layer thrice would pass
    for direction in ("forward", "inverse"):
        once, each = (jax.jit(getattr(part, direction))(*rows) for part in (loop, chain))
        for a, b in zip(once, each, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)


def test_a_loop_that_makes_its_layers_again_has_the_gradient_of_the_chain(x64, rows, lively):
    loop = lively(ScanChain(layer, 2, rngs=nnx.Rngs(0)), dtype="float64")
    slopes = (
        jax.jit(jax.grad(lambda x, c, part=part: sum(jnp.sin(a).sum() for a in part.forward(x, c))))(*rows)
        for part in (loop, unrolled(loop))
    )
    np.testing.assert_allclose(*slopes, atol=1e-12)


def test_a_chain_keeps_the_laws(x64, rows, lively, laws):
    errors = laws(lively(Chain(layer(nnx.Rngs(0)), Reverse(DIM)), dtype="float64"), *rows)
    assert max(errors.values()) < 1e-10, errors


def test_an_inverse_keeps_the_laws(x64, rows, lively, laws):
    errors = laws(lively(Inverse(layer(nnx.Rngs(0))), dtype="float64"), *rows)
    assert max(errors.values()) < 1e-10, errors


def test_a_loop_sets_each_norm_from_what_the_layers_before_it_give(lively):
    make = lambda rngs: Chain(LULinear(DIM, rngs=rngs), ActNorm((DIM,), rngs=rngs))  # noqa: E731
    loop = lively(ScanChain(make, 2, rngs=nnx.Rngs(0)))
    norms = loop.layers.bijectors[1]
    norms.log_scale[...] *= 0
    norms.shift[...] *= 0
    x = jnp.asarray(3 + 2 * np.random.default_rng(1).standard_normal((200, DIM)), jnp.float32)
    z = loop.initialise(x, None, jnp.ones(200))
    first, second = unrolled(loop).bijectors
    for found in (first.forward(x).value, second.forward(first.forward(x).value).value, z):
        np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(found.var(0), 1, atol=1e-3)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [("both both", "both"), ("both forward", "forward"), ("inverse both", "inverse"), ("forward inverse", "neither")],
)
def test_a_chain_is_as_fast_as_its_slowest_map(kinds, expected):
    fast = {
        "both": Reverse(2),
        "forward": Autoregressive(Exponential(), MADE(2, 2, (4,), rngs=nnx.Rngs(0))),
        "inverse": Inverse(Autoregressive(Exponential(), MADE(2, 2, (4,), rngs=nnx.Rngs(0)))),
    }
    assert directions(tuple(fast[kind] for kind in kinds.split())) == expected


def test_layers_of_different_structure_are_refused():
    parts = iter([Reverse(2), Permute(2, rngs=nnx.Rngs(0))])
    with pytest.raises(ValueError, match="expected layers of one structure, got layers that differ"):
        ScanChain(lambda rngs: next(parts), 2, rngs=nnx.Rngs(0))


def test_a_deeper_loop_is_no_larger_program(lively):
    def size(n_layers: int) -> int:
        layout, arrays = flatten(ScanChain(layer, n_layers, rngs=nnx.Rngs(0)))
        run = jax.make_jaxpr(lambda arrays, x, c: merge(layout, arrays).forward(x, c))
        return str(run(arrays, jnp.zeros((2, DIM)), jnp.zeros((2, CONTEXT)))).count(" = ")

    assert size(16) == size(2)
