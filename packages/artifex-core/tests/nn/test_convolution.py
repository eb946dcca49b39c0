"""Convolutions against those of jax.lax, in value and in every derivative up to the third."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten, merge
from artifex.core.nn.convolution import MANY, Conv, ConvTranspose, convolve

CASES = {
    "same": ((3, 3), (1, 1), "SAME"),
    "strided": ((4, 4), (2, 2), "SAME"),
    "last row unseen": ((3, 2), (2, 3), "VALID"),
    "full": ((3, 3), (1, 1), [(2, 2), (2, 2)]),
    "uneven": ((2, 3), (1, 2), [(0, 1), (2, 0)]),
}


def by_lax(x, w, strides, padding):
    return jax.lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def derivatives(convolution, x, w):
    """The value, and gradients by both of a scalar, of the norm of its gradient by x, and of that of the norm's."""

    def value(x, w):
        return jnp.sin(convolution(x, w)).sum()

    def slope(x, w):
        return (jax.grad(value)(x, w) ** 2).sum()

    def curve(x, w):
        return (jax.grad(slope, 1)(x, w) ** 2).sum()

    return convolution(x, w), *(jax.grad(f, (0, 1))(x, w) for f in (value, slope, curve))


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("channels", [(3, 2), (16, MANY // 16)], ids=["at once", "by rows"])
def test_values_and_gradients_of_every_order_are_those_of_lax(case, channels):
    window, strides, padding = case
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 7, 6, channels[0])))
    w = jnp.asarray(rng.standard_normal((*window, *channels)) / channels[0])

    @jax.jit
    def both(x, w):
        return [derivatives(lambda x, w, f=f: f(x, w, strides, padding), x, w) for f in (convolve, by_lax)]

    found, expected = both(x, w)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


LAYERS = {
    "down": (Conv, nnx.Conv, {"strides": 2}),
    "up": (ConvTranspose, nnx.ConvTranspose, {"strides": (2, 2)}),
    "up by one number": (ConvTranspose, nnx.ConvTranspose, {"strides": 3, "use_bias": False}),
}


@pytest.mark.parametrize(("ours", "theirs", "options"), LAYERS.values(), ids=LAYERS.keys())
@pytest.mark.parametrize("window", [3, 4])
def test_layers_equal_those_of_nnx(ours, theirs, options, window):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 5, 6, 3)))
    kind = {"rngs": nnx.Rngs(0), "param_dtype": jnp.float64}
    a, b = (layer(3, 4, (window, window), **kind, **options) for layer in (ours, theirs))
    b.kernel[...] = a.kernel[...]

    def run(layer):
        layout, arrays = flatten(layer)
        loss = jax.jit(lambda arrays: (merge(layout, arrays)(x) ** 2).sum())
        return jax.jit(lambda arrays: merge(layout, arrays)(x))(arrays), jax.grad(loss)(arrays)

    for found, expected in zip(jax.tree.leaves(run(a)), jax.tree.leaves(run(b)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("layer", "option"), [(Conv, "kernel_dilation"), (ConvTranspose, "padding")])
def test_options_that_would_be_left_out_are_refused(layer, option):
    with pytest.raises(ValueError, match=f"got {option}. Use the layer of nnx"):
        layer(1, 1, (3, 3), rngs=nnx.Rngs(0), **{option: 2})
