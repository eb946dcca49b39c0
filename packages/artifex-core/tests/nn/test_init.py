"""Initial weights have the variances of their papers, on the host and under a trace."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.core.nn import init

SHAPE = (3, 3, 40, 60)  # window 9, fan_in 360, fan_out 540
VARIANCES = [
    (init.lecun_normal(), 1 / 360),
    (init.lecun_uniform(), 1 / 360),
    (init.he_normal(), 2 / 360),
    (init.he_uniform(), 2 / 360),
    (init.glorot_normal(), 2 / 900),
    (init.glorot_uniform(), 2 / 900),
    (init.normal(0.3), 0.09),
    (init.uniform(0.3), 0.03),
]


@pytest.mark.parametrize(("initializer", "variance"), VARIANCES)
@pytest.mark.parametrize("traced", [False, True])
def test_variance_is_that_of_the_paper(initializer, variance, traced):
    draw = jax.jit(initializer, static_argnums=1) if traced else initializer
    w = np.asarray(draw(jax.random.key(0), SHAPE))
    n = w.size
    assert abs(w.mean()) < 4 * np.sqrt(variance / n)
    assert w.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / n))


def test_equal_keys_give_equal_weights_and_others_do_not():
    a, b, c = (init.he_normal()(jax.random.key(seed), (5, 5)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert abs(float((a * c).mean())) < float((a * a).mean())


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (2, 3, 4)])
@pytest.mark.parametrize("traced", [False, True])
def test_orthogonal_columns_or_rows_have_the_given_length(shape, traced):
    initializer = init.orthogonal(2.0)
    draw = jax.jit(initializer, static_argnums=1) if traced else initializer
    w = np.asarray(draw(jax.random.key(0), shape)).reshape(-1, shape[-1])
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


def test_constants_and_dtypes():
    np.testing.assert_array_equal(init.constant(2.5)(jax.random.key(0), (2, 2)), np.full((2, 2), 2.5))
    assert init.zeros(jax.random.key(0), (3,), jnp.bfloat16).dtype == jnp.bfloat16
    np.testing.assert_array_equal(init.ones(jax.random.key(0), (3,)), 1)


def test_a_host_draw_compiles_nothing():
    from artifex.core.testing.events import traced

    init.he_normal()(jax.random.key(0), (7, 11))
    key = jax.random.key(1)
    with traced() as events:
        init.he_normal()(key, (13, 17))
    assert events == []
