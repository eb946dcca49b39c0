"""Bounds of log p(x), and the terms that variants change in them.

    log w   = log p(x|z) + log p(z) − log q(z|x),    z ~ q(z|x)                                                  (1)
    ELBO    = E log w = E log p(x|z) − KL(q ‖ p)                                                                 (2)
    IWAE_k  = E log 1/k Σ_i w_i  ≤ log p(x),  rising with k [1]                                                  (3)
    DReG    ∇φ IWAE_k = E Σ_i w̃_i² ∂log w_i/∂z_i ∂z_i/∂φ,   w̃_i = w_i / Σ w  [2]                               (4)
    free bits     Σ_j max(λ, E_batch KL_j) [3]                                                                   (5)
    warm-up       β(s) = β min(1, s / warm-up steps)                                                             (6)

References:
    [1] Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2015, arXiv:1509.00519
    [2] Tucker et al., Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives, 2018, arXiv:1810.04152
    [3] Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, 2016, arXiv:1606.04934
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.prob.noise import RowRngs, stream_key

PerRow = Float[Array, " batch"]


class Weighted(Protocol):
    """A model with a latent variable, seen through its importance weights."""

    def log_weight(self, x: Array, *, rngs: nnx.Rngs, **conditions: Array) -> PerRow:
        """log w at one draw of z for each row (eq. 1)."""
        ...


def iwae_bound(log_w: Float[Array, "k batch"]) -> PerRow:
    """log of the mean weight in nats, one value per row (eq. 3)."""
    return jax.nn.logsumexp(log_w, axis=0) - math.log(len(log_w))


@jax.custom_vjp
def scale_gradient(z: Float[Array, "k batch latent"], scale: Float[Array, "k batch"]) -> Float[Array, "k batch latent"]:
    """z itself; its gradient is multiplied by `scale` (eq. 4)."""
    return z


def _scale_forward(z: Array, scale: Array) -> tuple[Array, Array]:
    return z, scale


def _scale_backward(scale: Array, grad: Array) -> tuple[Array, Array]:
    return (grad * scale[..., None]).astype(grad.dtype), jnp.zeros_like(scale)


scale_gradient.defvjp(_scale_forward, _scale_backward)


def with_gradient_of(value: Float[Array, "..."], surrogate: Float[Array, "..."]) -> Float[Array, "..."]:
    """`value`, whose gradient is that of `surrogate`."""
    return jax.lax.stop_gradient(value - surrogate) + surrogate


def free_bits(kl: Float[Array, "batch latent"], least: float) -> PerRow:
    """KL of each row, where a dimension whose batch mean is below `least` nats costs that much (eq. 5)."""
    if least == 0:
        return kl.sum(-1)
    mean = kl.mean(0)
    floored = jnp.maximum(mean, least).sum()
    return with_gradient_of(kl.sum(-1), jnp.broadcast_to(floored, kl.shape[:1]))


def warm_up(step: Int[Array, ""] | None, steps: int) -> Float[Array, ""] | float:
    """The share of β at a step (eq. 6); all of it when the step is None."""
    return 1.0 if step is None or steps == 0 else jnp.minimum(1.0, step / steps)


def iwae_log_prob(
    model: Weighted, x: Array, *, k: int = 5000, chunk: int = 100, rngs: nnx.Rngs, **conditions: Array
) -> PerRow:
    """IWAE_k in nats, `chunk` draws at a time: a lower bound of log p(x) that tightens with k (eq. 3).

    Raises:
        ValueError: k is no multiple of chunk.
    """
    chunk = min(chunk, k)
    if k < 1 or k % chunk:
        raise ValueError(f"iwae_log_prob: expected k >= 1 and a multiple of chunk = {chunk}, got {k}.")
    key = stream_key(rngs, "noise")

    def draw(index: Int[Array, ""]) -> PerRow:
        return model.log_weight(x, rngs=RowRngs(jax.random.fold_in(key, index)), **conditions)

    def add(total: PerRow, first: Int[Array, ""]) -> tuple[PerRow, None]:
        log_w = jax.vmap(draw)(first + jnp.arange(chunk))
        return jnp.logaddexp(total, jax.nn.logsumexp(log_w, axis=0)), None

    nothing = jnp.full(len(x), -jnp.inf, jax.eval_shape(draw, 0).dtype)
    total, _ = jax.lax.scan(add, nothing, jnp.arange(0, k, chunk))
    return total - math.log(k)


def bound_scores(model: Any, x: Array, *, rngs: nnx.Rngs, **conditions: Array) -> Mapping[str, PerRow]:
    """ELBO and IWAE-50 of each row in nats, one draw for the former (eq. 2, 3)."""
    elbo = model.log_weight(x, rngs=RowRngs(stream_key(rngs, "elbo")), **conditions)
    return {"elbo": elbo, "iwae_50": iwae_log_prob(model, x, k=50, chunk=10, rngs=rngs, **conditions)}
