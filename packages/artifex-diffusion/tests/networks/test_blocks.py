"""Parts of the convolutional networks against the library's own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.diffusion.blocks import GroupNorm, Style, Upsample


def pair(width: int, groups: int) -> tuple[GroupNorm, nnx.GroupNorm]:
    """Ours and flax's, with equal weights that are neither 0 nor 1."""
    ours = GroupNorm(width, Style(groups, 1e-6))
    theirs = nnx.GroupNorm(width, num_groups=groups, epsilon=1e-6, rngs=nnx.Rngs(0))
    for k, name in enumerate(("scale", "bias")):
        value = jax.random.normal(jax.random.key(k), (width,))
        getattr(ours, name)[...] = value
        getattr(theirs, name)[...] = value
    return ours, theirs


def slope(layer, x):
    """The gradient of the sum of cubes."""
    return jax.grad(lambda x: (layer(x) ** 3).sum())(x)


@pytest.mark.parametrize("groups", [1, 4, 12])
def test_group_norm_and_its_gradient_are_those_of_flax(groups):
    ours, theirs = pair(12, groups)
    x = 3 + jax.random.normal(jax.random.key(2), (2, 5, 3, 12))
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)  # a mean of 3 costs the variance a digit
    gradient = [slope(layer, x) for layer in (ours, theirs)]
    np.testing.assert_allclose(*gradient, atol=1e-4 * float(jnp.abs(gradient[1]).max()))


def test_group_norm_of_half_precision_takes_its_moments_in_float32():
    ours, _ = pair(8, 2)
    x = (100 + jax.random.normal(jax.random.key(3), (1, 32, 32, 8))).astype(jnp.bfloat16)
    found = ours(x)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), ours(x.astype(jnp.float32)), atol=0.05)


def test_doubling_is_each_place_four_times_and_then_the_convolution():
    layer = Upsample(3, rngs=nnx.Rngs(0))
    layer.conv.bias[...] = jnp.arange(3.0)
    x = jax.random.normal(jax.random.key(4), (2, 4, 5, 3))
    plain = lambda x: layer.conv(x.repeat(2, axis=1).repeat(2, axis=2))  # noqa: E731
    np.testing.assert_allclose(layer(x), plain(x), atol=1e-6)
    np.testing.assert_allclose(slope(layer, x), slope(plain, x), atol=1e-5)
