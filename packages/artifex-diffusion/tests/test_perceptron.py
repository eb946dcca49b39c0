"""The perceptron keeps the network contract, and every field of its config does something."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten
from artifex.diffusion.perceptron import Perceptron, PerceptronConfig

SMALL = PerceptronConfig(shape=(3, 2), n_classes=4, width=8, depth=2, embed_dim=8)
XT, C, Y = jnp.ones((2, 3, 2)), jnp.array([10.0, 700.0]), jnp.array([0, 3])


def program(config):
    """Shapes of the parameters, and the computation as text."""
    network = Perceptron(config, rngs=nnx.Rngs(0))
    xt = jnp.ones((2, *config.shape))
    shapes = {path: x.shape for path, x in flatten(network)[1].items()}
    return shapes, str(jax.make_jaxpr(network)(xt, C, Y))


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (6, 2)},
        {"n_classes": None},
        {"out_channels": 4},
        {"width": 16},
        {"depth": 1},
        {"embed_dim": 16},
        {"embedding": "fourier"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_option_changes_parameters_or_program(change):
    assert program(SMALL.replace(**change)) != program(SMALL)


def test_blocks_begin_as_the_identity():
    network, without = (Perceptron(SMALL.replace(depth=depth), rngs=nnx.Rngs(0)) for depth in (2, 0))
    without.out.kernel.set_value(network.out.kernel[...])
    np.testing.assert_allclose(network(XT, C, Y), without(XT, C, Y), rtol=1e-6)
    network.trunk.blocks[0].out.kernel.set_value(jnp.eye(8))
    assert np.abs(network(XT, C, Y) - without(XT, C, Y)).max() > 1e-4


def test_the_label_counts_from_the_start():
    network = Perceptron(SMALL, rngs=nnx.Rngs(0))
    assert np.abs(network(XT, C, Y) - network(XT, C, jnp.array([1, 1]))).max() > 1e-4


def test_no_label_is_the_last_row_of_the_table():
    network = Perceptron(SMALL, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(network.trunk.embed(C, None), network.trunk.embed(C, jnp.array([4, 4])))


def test_a_class_out_of_range_gives_nan_and_never_another_class():
    network = Perceptron(SMALL, rngs=nnx.Rngs(0))
    e = np.asarray(network.trunk.embed(C, jnp.array([5, 2])))
    assert np.isnan(e[0]).all()
    assert not np.isnan(e[1]).any()


def test_rows_do_not_look_at_each_other():
    network = Perceptron(SMALL, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(network(XT, C, Y)[:1], network(XT[:1], C[:1], Y[:1]), rtol=1e-6)


@pytest.mark.parametrize("fields", [{"width": 0}, {"depth": -1}, {"embed_dim": 7}])
def test_bad_sizes_name_the_value(fields):
    with pytest.raises(ValueError, match="expected 'width' >= 1, 'depth' >= 0 and an even 'embed_dim'"):
        PerceptronConfig(**fields)
