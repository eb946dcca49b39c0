"""Equalised layers against torch."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.gan.equalised import Conv, Linear, leaky


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 7, 7, 5)).astype(np.float32)


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 1), (3, 2, 0), (1, 1, 0)])
def test_convolution_is_torchs_with_scaled_weights(x, size, stride, padding):
    torch = pytest.importorskip("torch")
    layer = Conv(5, 4, size, stride=stride, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.arange(4.0)
    kernel = torch.tensor(np.asarray(layer.kernel[...])).permute(3, 2, 0, 1) / np.sqrt(5 * size**2)
    expected = torch.nn.functional.conv2d(
        torch.tensor(x).permute(0, 3, 1, 2), kernel, torch.arange(4.0), stride=stride, padding=padding
    )
    np.testing.assert_allclose(layer(jnp.asarray(x)), expected.permute(0, 2, 3, 1), atol=1e-5)  # float32 sums of 45


def test_rate_scales_weights_and_their_steps():
    layer = Linear(400, 300, rate=0.01, bias=(2.0,), rngs=nnx.Rngs(0))
    kernel = np.asarray(layer.kernel[...], float)
    assert kernel.std() == pytest.approx(100, rel=0.01)  # 1/m, from 120 000 draws
    x = np.random.default_rng(1).standard_normal((3, 400)).astype(np.float32)
    np.testing.assert_allclose(layer(jnp.asarray(x)), x @ kernel * 0.01 / 20 + 2, rtol=1e-4)


def test_leaky_keeps_the_second_moment_of_a_normal():
    x = np.random.default_rng(0).standard_normal(100_000)
    np.testing.assert_allclose(float((leaky(jnp.asarray(x, jnp.float32)) ** 2).mean()), 1.04, atol=0.02)
