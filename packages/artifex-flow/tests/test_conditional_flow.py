"""The conditional flow on a linear Gaussian inverse problem, whose posterior is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

from artifex.core import OptimizerConfig, Trainer, TrainerConfig, create_model
from artifex.core.leaves import flatten, merge

A, NOISE = np.array([[1.0, 0.5], [-0.3, 0.8]]), 0.5
# x ~ N(0, I), y = A x + noise: the posterior is N(S Aᵀ y / noise², S), S = (I + Aᵀ A / noise²)⁻¹.
COVARIANCE = np.linalg.inv(np.eye(2) + A.T @ A / NOISE**2)
TO_MEAN = COVARIANCE @ A.T / NOISE**2


def problem(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2))
    return x, x @ A.T + NOISE * rng.standard_normal((n, 2))


def build(**fields):
    net = {"type": "mlp", "hidden_dims": (32,)}
    return create_model("conditional_flow", rngs=nnx.Rngs(0), context_dim=2, net=net, **fields)


def divergence(model) -> float:
    """KL(posterior ‖ model) in nats, averaged over y."""
    x, y = problem(20_000, 1)
    exact = scipy.stats.multivariate_normal(np.zeros(2), COVARIANCE).logpdf(x - y @ TO_MEAN.T)
    layout, arrays = flatten(model)
    log_prob = jax.jit(lambda arrays, x, y: merge(layout, arrays).log_prob(x, y=y))
    found = log_prob(arrays, jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    return float((exact - np.asarray(found, float)).mean())


def test_base_and_mixing_alone_hold_a_gaussian_posterior():
    model = build(n_layers=1)
    upper = np.linalg.cholesky(np.linalg.inv(COVARIANCE)).T  # whitens x: U x has covariance I
    mixing = model.bijector.layers.bijectors[1]
    order = np.asarray(model.bijector.layers.bijectors[0].order[...])[0]
    upper = np.linalg.qr(upper[:, order])[1]  # for x in the drawn order
    upper *= np.sign(np.diag(upper))[:, None]
    raw = np.log(np.expm1(np.diag(upper) - 1e-3)) - np.log(np.expm1(1 - 1e-3))
    mixing.factors[...] = jnp.asarray(np.triu(upper, 1) + np.diag(raw), jnp.float32)[None]
    model.base.linear.kernel[...] = jnp.asarray(
        np.concatenate([(upper @ TO_MEAN[order]).T, np.zeros((2, 2))], 1), jnp.float32
    )
    assert abs(divergence(model)) < 1e-3


@pytest.mark.slow
def test_training_finds_the_posterior():
    model = build(n_layers=3)
    x, y = (part.astype(np.float32) for part in problem(20_000, 0))
    fast = OptimizerConfig(learning_rate=2e-3, schedule="cosine")
    Trainer(model, TrainerConfig(steps=3000, batch_size=256, optimizer=fast)).fit({"x": x, "y": y})
    assert divergence(model) < 0.02
