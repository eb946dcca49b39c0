"""Attention against the sum that it is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.nn.attention import Attention


def by_hand(layer: Attention, x: np.ndarray, c: np.ndarray, *, causal: bool = False) -> np.ndarray:
    """The same in float64, one query and one head at a time."""
    weights = {name: np.asarray(getattr(layer, name).kernel[...], float) for name in ("query", "key", "value", "out")}
    d = x.shape[-1] // layer.n_heads
    y = np.zeros(x.shape)
    for b, i, h in np.ndindex(*x.shape[:2], layer.n_heads):
        part = slice(h * d, (h + 1) * d)
        q = x[b, i] @ weights["query"][:, part]
        seen = c[b, : i + 1] if causal else c[b]
        logits = seen @ weights["key"][:, part] @ q / np.sqrt(d)
        p = np.exp(logits - logits.max())
        y[b, i, part] = p / p.sum() @ (seen @ weights["value"][:, part])
    return y @ weights["out"]


@pytest.fixture(scope="module")
def tokens():
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 4, 8)).astype(np.float32), rng.standard_normal((2, 3, 6)).astype(np.float32)


@pytest.mark.parametrize("causal", [False, True])
def test_self_attention_is_a_weighted_mean_of_values(tokens, causal):
    layer = Attention(8, 2, rngs=nnx.Rngs(0))
    x = tokens[0]
    # float32 against float64.
    np.testing.assert_allclose(layer(jnp.asarray(x), causal=causal), by_hand(layer, x, x, causal=causal), atol=1e-5)


def test_cross_attention_looks_at_the_context(tokens):
    layer = Attention(8, 2, context_width=6, bias=False, rngs=nnx.Rngs(0))
    x, c = tokens
    np.testing.assert_allclose(layer(jnp.asarray(x), jnp.asarray(c)), by_hand(layer, x, c), atol=1e-5)
    assert layer.query.bias is None


def test_attention_without_positions_commutes_with_permutations(tokens):
    layer = Attention(8, 4, rngs=nnx.Rngs(0))
    x, order = jnp.asarray(tokens[0]), np.array([2, 0, 3, 1])
    np.testing.assert_allclose(layer(x[:, order]), layer(x)[:, order], atol=1e-6)


def test_bfloat16_tokens_give_bfloat16_and_a_softmax_in_float32(tokens):
    layer = Attention(8, 2, rngs=nnx.Rngs(0))
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), nnx.state(layer))
    x = jnp.asarray(tokens[0])
    full = np.asarray(layer(x))
    nnx.update(layer, half)
    y = layer(x.astype(jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    # Eight bits of mantissa through four products.
    np.testing.assert_allclose(np.asarray(y, np.float32), full, atol=0.05)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match=r"divides by the number of heads, got 8 and 3.*\[1, 2, 4, 8\]"):
        Attention(8, 3, rngs=nnx.Rngs(0))
