"""Bounds: identities, and the doubly reparameterised gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.training.rows import masked_mean
from artifex.vae.bound import free_bits, iwae_bound, iwae_log_prob, scale_gradient, warm_up


def test_iwae_bound_of_equal_weights_is_their_value():
    np.testing.assert_allclose(iwae_bound(jnp.full((7, 2), -3.5)), [-3.5, -3.5], rtol=1e-6)


def test_iwae_bound_is_the_log_of_the_mean_weight():
    log_w = np.random.default_rng(0).standard_normal((50, 3))
    np.testing.assert_allclose(iwae_bound(jnp.asarray(log_w)), np.log(np.exp(log_w).mean(0)), rtol=1e-5)


def test_scale_gradient_keeps_the_value_and_scales_the_gradient():
    z, scale = jnp.ones((2, 3, 4)), jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(scale_gradient(z, scale), z)
    grad = jax.grad(lambda z: (scale_gradient(z, scale) ** 2).sum())(z)
    np.testing.assert_allclose(grad, 2 * np.broadcast_to(scale[..., None], (2, 3, 4)))


def test_free_bits_leave_a_large_kl_alone():
    kl = jnp.asarray([[3.0, 5.0], [1.0, 7.0]])
    np.testing.assert_allclose(free_bits(kl, 0.5), [8.0, 8.0])
    np.testing.assert_allclose(jax.grad(lambda k: free_bits(k, 0.5).mean())(kl), np.full((2, 2), 0.5))


def test_free_bits_stop_the_gradient_below_the_floor():
    kl = jnp.asarray([[0.1, 5.0], [0.3, 7.0]])  # the first dimension costs 0.2 in the mean
    grad = jax.grad(lambda k: free_bits(k, 0.5).mean())(kl)
    np.testing.assert_allclose(grad, [[0.0, 0.5], [0.0, 0.5]])


def test_warm_up_is_linear_and_then_one():
    assert [float(warm_up(jnp.asarray(s), 4)) for s in (0, 1, 4, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert warm_up(None, 4) == 1.0


def test_masked_rows_do_not_count_even_if_they_are_nan():
    mean, weight = masked_mean(jnp.asarray([1.0, 3.0, jnp.nan]), {"mask": jnp.asarray([1.0, 1.0, 0.0])})
    assert float(mean) == 2.0
    assert float(weight) == 2.0


class Constant:
    """A model whose weight is a known random number."""

    def log_weight(self, x, *, rngs):
        return jax.random.normal(rngs["default"](), (len(x),))


def test_chunks_do_not_change_iwae_log_prob():
    x = jnp.zeros((2, 1))
    found = [iwae_log_prob(Constant(), x, k=40, chunk=c, rngs=nnx.Rngs(0)) for c in (40, 10, 4)]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5)


def test_k_that_is_no_multiple_of_the_chunk_is_refused():
    with pytest.raises(ValueError, match="multiple of chunk = 7, got 40"):
        iwae_log_prob(Constant(), jnp.zeros((1, 1)), k=40, chunk=7, rngs=nnx.Rngs(0))
