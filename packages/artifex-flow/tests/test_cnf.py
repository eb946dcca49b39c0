"""The continuous flow against autodiff, quadrature and its own samples."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten, merge
from artifex.flow.cnf import CNF, CNFConfig, VectorField

CONFIG = CNFConfig(hidden_dims=(8,), dtype="float64")


pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def cnf(lively):
    """A function that makes an evaluating CNF with lively parameters."""

    def make(**changes) -> CNF:
        model = lively(CNF(CONFIG.replace(**changes), rngs=nnx.Rngs(0)))
        model.eval()
        return model

    return make


def test_log_det_equals_the_jacobian_with_and_without_context(cnf):
    for context_dim, y in ((0, None), (3, jnp.asarray([0, 2]))):
        layout, arrays = flatten(cnf(context_dim=context_dim, tolerance=1e-9))

        def run(arrays, x, y, layout=layout):
            model = merge(layout, arrays)
            z, log_det = model.forward(x, y=y)
            again, back = model.inverse(z, y=y)
            one = jax.jacfwd(lambda row, y: model.forward(row[None], y=None if y is None else y[None]).value[0])
            jacobian = jax.vmap(one, (0, None if y is None else 0))(x, y)
            return again, log_det, back, jnp.linalg.slogdet(jacobian)[1]

        x = jnp.asarray(np.random.default_rng(1).standard_normal((2, 2)))
        again, log_det, back, exact = jax.jit(run)(arrays, x, y)
        # Solved to 1e-9 a step.
        np.testing.assert_allclose(again, x, atol=1e-6)
        np.testing.assert_allclose(log_det, exact, atol=1e-6)
        np.testing.assert_allclose(back, -log_det, atol=1e-6)


def test_training_and_evaluation_agree(cnf):
    model = cnf(tolerance=1e-8)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 2)))
    exact = jax.jit(model.log_prob)(x)
    model.train()
    # 20 steps of RK4 on a smooth field.
    np.testing.assert_allclose(jax.jit(lambda x: model(x, rngs=nnx.Rngs(0))["log_prob"])(x), exact, atol=1e-4)


def test_samples_follow_the_density(cnf):
    layout, arrays = flatten(cnf(dim=1, tolerance=1e-4))

    @jax.jit
    def run(arrays, grid):
        model = merge(layout, arrays)
        return model.generate(20_000, rngs=nnx.Rngs(0)), model.log_prob(grid)

    grid = np.linspace(-12, 12, 2001)
    x, log_prob = run(arrays, jnp.asarray(grid[:, None]))
    p = np.exp(np.asarray(log_prob))
    steps = (p[1:] + p[:-1]) / 2 * np.diff(grid)
    assert abs(steps.sum() - 1) < 1e-3
    cdf = np.interp(np.sort(np.asarray(x)[:, 0]), grid, np.concatenate([[0], np.cumsum(steps)]))
    n = len(cdf)
    distance = np.abs(cdf - (np.arange(n) + 0.5) / n).max() + 0.5 / n
    assert distance < np.sqrt(-0.5 * np.log(1e-4 / 2) / n)  # Kolmogorov-Smirnov at p = 1e-4


def test_beyond_sixteen_dimensions_training_estimates_the_exact_log_prob(cnf):
    model = cnf(dim=17, n_steps=8, hidden_dims=(4,))
    model.train()

    @jax.jit
    def run(x, key):
        return model(x, rngs=nnx.Rngs(key))["log_prob"], model.log_prob(x[:1])

    row = jnp.asarray(np.random.default_rng(0).standard_normal((1, 17)))
    estimates, exact = run(jnp.tile(row, (2000, 1)), jax.random.key(0))
    error = float(estimates.std()) / np.sqrt(2000)
    assert error > 0
    assert abs(float(estimates.mean() - exact[0])) < 4 * error


@pytest.mark.slow
def test_the_field_hears_time_and_context():
    field = VectorField(CONFIG.replace(context_dim=2), rngs=nnx.Rngs(0))
    x, t, c = jnp.ones((1, 2)), jnp.full(1, 0.3), jnp.ones((1, 2))
    slopes = jax.jacfwd(field, argnums=(0, 1, 2))(x, t, c)
    assert all(np.abs(slope).min() > 0 for slope in slopes)


@pytest.mark.parametrize("fields", [{"tolerance": 0.0}, {"n_steps": 0}, {"max_steps": 0}])
def test_bad_solver_settings_are_refused(fields):
    with pytest.raises(ValueError, match=r"expected 'tolerance' > 0, 'n_steps' and 'max_steps' >= 1"):
        CNFConfig(**fields)


@pytest.mark.slow
def test_a_solver_out_of_steps_is_named(cnf):
    with pytest.raises(ValueError, match=r"tolerance 1e-09, got to t = 0\.\d+ in 2 steps"):
        cnf(tolerance=1e-9, max_steps=2).log_prob(jnp.ones((2, 2)))
