"""The critic of StyleGAN2: its parts against torch and hand-made sums."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.gan.stylegan2_discriminator import Block, StyleGAN2Discriminator, with_deviation


def test_block_is_torchs():
    torch = pytest.importorskip("torch")
    block = Block(4, 6, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).standard_normal((3, 8, 8, 4)).astype(np.float32)

    def conv(layer, y, **options):
        kernel = torch.tensor(np.asarray(layer.kernel[...])).permute(3, 2, 0, 1)
        return torch.nn.functional.conv2d(y, kernel * layer.scale, **options)

    def smooth(y, padding):
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = (taps[:, None] * taps).expand(y.shape[1], 1, 4, 4)
        return torch.nn.functional.conv2d(y, kernel, padding=padding, groups=y.shape[1])

    def leaky(y):
        return torch.nn.functional.leaky_relu(y, 0.2) * 2**0.5

    start = torch.tensor(x).permute(0, 3, 1, 2)
    y = leaky(conv(block.second, smooth(leaky(conv(block.first, start, padding=1)), 2), stride=2))
    expected = (y + conv(block.skip, smooth(start, 1)[:, :, ::2, ::2])) * 0.5**0.5
    np.testing.assert_allclose(block(jnp.asarray(x)), expected.permute(0, 2, 3, 1), atol=1e-5)  # float32


def test_deviation_is_that_of_every_second_row():
    x = np.random.default_rng(0).standard_normal((8, 4, 4, 3)).astype(np.float32)
    found = np.asarray(with_deviation(jnp.asarray(x)))
    np.testing.assert_array_equal(found[..., :3], x)
    for g in range(2):
        expected = np.sqrt(x[g::2].var(0) + 1e-8).mean()
        np.testing.assert_allclose(found[g::2, ..., 3], expected, rtol=1e-5)


def test_equal_rows_have_no_deviation():
    found = with_deviation(jnp.ones((4, 4, 4, 2)))
    np.testing.assert_allclose(found[..., 2], 1e-4, rtol=1e-5)  # √1e-8


def test_a_class_weighs_the_last_layer():
    critic = StyleGAN2Discriminator((8, 8, 1), 32, 8, n_classes=3, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 8, 8, 1)), jnp.float32)
    by_class = np.stack([critic(x, jnp.full(4, y)) for y in range(3)])
    kernel = np.asarray(critic.embed.kernel[...], float) * critic.embed.scale
    units = kernel / np.sqrt((kernel**2).mean(1, keepdims=True) + 1e-8)
    # Logits are linear in the embedded class: the same features give all three.
    features, *_ = np.linalg.lstsq(units, by_class * np.sqrt(kernel.shape[1]), rcond=None)
    np.testing.assert_allclose(units @ features / np.sqrt(kernel.shape[1]), by_class, atol=1e-5)
    assert np.abs(by_class[0] - by_class[1]).max() > 1e-3


def test_a_batch_that_does_not_divide_into_groups_is_refused():
    with pytest.raises(ValueError, match=r"groups of 4, got 6 rows\. Set trainer.batch_size to 4"):
        with_deviation(jnp.ones((6, 4, 4, 2)))
