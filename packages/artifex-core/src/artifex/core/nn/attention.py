"""Attention of one set of tokens to another, or to itself.

    q = x W_q,  k = c W_k,  v = c W_v,    split into heads of width d                                             (1)
    y = softmax(q kᵀ / √d) v W_o                                                                                 (2)
c = x is self-attention. Products are in the dtype of the tokens, the softmax in float32.

References:
    [1] Vaswani et al., Attention Is All You Need, 2017, arXiv:1706.03762
"""

from __future__ import annotations

import jax
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.nn.init import Initializer, glorot_uniform, zeros


class Attention(nnx.Module):
    """Multi-head attention (eq. 2)."""

    def __init__(
        self,
        width: int,
        n_heads: int,
        *,
        context_width: int | None = None,
        bias: bool = True,
        inits: tuple[Initializer, Initializer] = (glorot_uniform(), glorot_uniform()),
        rngs: nnx.Rngs,
    ) -> None:
        """A layer from `width` to `width`.

        Args:
            context_width: of c where it is not x.
            bias: of q, k and v; the output always has one.
            inits: of the kernels of q, k and v, and of the output.
        """
        if width % n_heads:
            raise ValueError(
                f"Attention: expected a width that divides by the number of heads, got {width} and {n_heads}. "
                f"Use one of {[n for n in range(1, width + 1) if width % n == 0]} heads."
            )
        self.n_heads = n_heads
        options = {"use_bias": bias, "kernel_init": inits[0], "bias_init": zeros, "rngs": rngs}
        self.query = nnx.Linear(width, width, **options)
        self.key = nnx.Linear(context_width or width, width, **options)
        self.value = nnx.Linear(context_width or width, width, **options)
        self.out = nnx.Linear(width, width, kernel_init=inits[1], bias_init=zeros, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "batch token width"],
        context: Float[Array, "batch other context_width"] | None = None,
        *,
        causal: bool = False,
    ) -> Float[Array, "batch token width"]:
        """What each token gathers from the context, or from x; from tokens up to its own where `causal`."""
        context = x if context is None else context
        q, k, v = (self.split(layer(c)) for layer, c in ((self.query, x), (self.key, context), (self.value, context)))
        y = jax.nn.dot_product_attention(q, k, v, is_causal=causal)  # eq. 2
        return self.out(y.reshape(x.shape))

    def split(self, x: Float[Array, "batch token width"]) -> Float[Array, "batch token head part"]:
        """Heads as an axis of their own."""
        return x.reshape(*x.shape[:-1], self.n_heads, -1)
