"""Shared networks: where DCGAN normalises, and R3GAN's blocks and filters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.gan import examples
from artifex.gan.dcgan import DCGAN
from artifex.gan.networks import ConvNetworks
from artifex.gan.r3gan import Block, GroupedConv, ResidualNetworks, downsample, fan_in, upsample


def test_dcgan_networks_normalise_where_the_paper_says():
    config, _ = examples.dcgan()
    model = DCGAN(config.replace(shape=(16, 16, 1), networks=ConvNetworks(width=4)), rngs=nnx.Rngs(0))
    # Two halvings: a norm before each of G's two transposed convolutions, one in D, none at either picture.
    assert (len(model.generator.norms), len(model.discriminator.norms)) == (2, 1)
    assert model.generator.layers[-1].bias is not None
    assert model.discriminator.layers[0].bias is not None


def test_dcgan_weights_have_deviation_two_hundredths():
    model = DCGAN(examples.dcgan()[0].replace(networks=ConvNetworks(width=32)), rngs=nnx.Rngs(0))
    kernel = model.discriminator.layers[-1].kernel[...]
    np.testing.assert_allclose(kernel.std(), 0.02, rtol=0.15)  # 512 weights: three standard errors


def filtered(x, taps):
    """Rows and columns of a picture convolved with taps, zeros beyond the edges, by numpy."""
    rows = np.apply_along_axis(np.convolve, 0, x, taps)
    return np.apply_along_axis(np.convolve, 1, rows, taps)


def test_upsampling_filters_the_picture_between_zeros():
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    spread = np.zeros((8, 12))
    spread[::2, ::2] = x
    expected = filtered(spread, [0.5, 1.0, 0.5])[:8, :12]
    np.testing.assert_allclose(upsample(jnp.asarray(x)[None, ..., None])[0, ..., 0], expected, atol=1e-6)


def test_downsampling_filters_and_takes_each_second_pixel():
    x = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    expected = filtered(x, [0.25, 0.5, 0.25])[1:-1:2, 1:-1:2]
    np.testing.assert_allclose(downsample(jnp.asarray(x)[None, ..., None])[0, ..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("groups", [3, 6])  # few, and many
def test_grouped_convolution_equals_xlas(groups):
    layer = nnx.Conv(12, 12, (3, 3), feature_group_count=groups, rngs=nnx.Rngs(0))
    ours = GroupedConv(12, groups, kernel_init=fan_in(), bias_init=lambda key, shape: jnp.ones(shape), rngs=nnx.Rngs(0))
    layer.kernel[...], layer.bias[...] = ours.kernel[...], ours.bias[...]
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 5, 4, 12)), jnp.float32)
    np.testing.assert_allclose(jax.jit(ours)(x), jax.jit(layer)(x), atol=1e-5)


def test_a_block_starts_as_the_identity():
    block = Block(ResidualNetworks(group_width=4), 8, 4, rngs=nnx.Rngs(0))
    h = jnp.asarray(np.random.default_rng(0).standard_normal((2, 4, 4, 8)), jnp.float32)
    np.testing.assert_array_equal(block(h), h)


@pytest.mark.parametrize("depth", [1, 16])
def test_other_kernels_are_hes_times_the_fourth_root_of_the_depth(depth):
    block = Block(ResidualNetworks(expansion=4, group_width=4), 32, depth, rngs=nnx.Rngs(0))
    kernel = block.layers[0].kernel[...]
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / 1.04 / 32) * depth**-0.25, rtol=0.05)  # 4,096 weights
