"""The ODE bijector against matrix exponentials, autodiff and known error orders."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.flow.ode import ERROR, ODE, TO_BASE, A, C, dopri5, exact_trace, hutchinson_trace, rk4

MATRIX = np.array([[-0.6, 1.3, 0.2], [-1.1, 0.4, 0.3], [0.5, -0.2, 0.7]])


def exponential(matrix: np.ndarray) -> np.ndarray:
    """The matrix exponential by its eigenvalues."""
    values, vectors = np.linalg.eig(matrix)
    return (vectors * np.exp(values) @ np.linalg.inv(vectors)).real


def linear(matrix: np.ndarray, **settings) -> ODE:
    """The bijector of dx/dt = M x."""
    return ODE(lambda x, t, context: x @ jnp.asarray(matrix, x.dtype).T, (len(matrix),), **settings)


def evaluating(ode: ODE) -> ODE:
    ode.eval()
    return ode


@pytest.fixture
def rows(x64) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((4, 3))


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_linear_field_is_the_matrix_exponential_and_its_log_det_the_trace(rows, adaptive):
    # RK4 of 40 steps has an error of about 5e-8; Dopri5 has what its tolerance says.
    ode = linear(MATRIX, n_steps=40, tolerance=1e-9)
    ode.deterministic = adaptive
    z, log_det = jax.jit(ode.forward)(jnp.asarray(rows))
    np.testing.assert_allclose(z, rows @ exponential(MATRIX).T, atol=1e-6)
    np.testing.assert_allclose(log_det, np.trace(MATRIX), atol=1e-6)


def test_the_inverse_undoes_the_forward_direction(rows):
    ode = evaluating(linear(MATRIX, tolerance=1e-10))
    z, log_det = jax.jit(ode.forward)(jnp.asarray(rows))
    x, back = jax.jit(ode.inverse)(z)
    np.testing.assert_allclose(x, rows, atol=1e-8)
    np.testing.assert_allclose(back, -log_det, atol=1e-8)
    np.testing.assert_allclose(jax.jit(ode.sample)(z), x, atol=1e-8)


def test_time_runs_from_data_to_base(rows):
    # dx/dt = 2t gives x + 1 forwards, and a field that ran the other way would give x − 1.
    ode = evaluating(ODE(lambda x, t, context: jnp.broadcast_to(2 * t[:, None], x.shape), (3,)))
    np.testing.assert_allclose(ode.forward(jnp.asarray(rows))[0], rows + 1, atol=1e-10)
    np.testing.assert_allclose(ode.inverse(jnp.asarray(rows))[0], rows - 1, atol=1e-10)


def test_log_det_of_a_curved_field_equals_the_jacobian_of_the_solution(rows):
    ode = evaluating(ODE(lambda x, t, context: jnp.sin(x @ MATRIX) * jnp.cos(3 * t)[:, None], (3,), tolerance=1e-10))

    @jax.jit
    def both(x):
        return ode.forward(x)[1], jax.vmap(jax.jacfwd(lambda row: ode.forward(row[None])[0][0]))(x)

    log_det, jacobian = both(jnp.asarray(rows))
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-7)


def test_the_mean_of_hutchinson_is_the_trace(rows):
    def field(rows):
        return jnp.tanh(rows @ MATRIX)

    n = 4000
    x = jnp.tile(jnp.asarray(rows[:1]), (n, 1))
    v = jnp.asarray(np.random.default_rng(1).choice([-1.0, 1.0], (n, 3)))
    _, exact = exact_trace(field, x)
    np.testing.assert_allclose(exact, np.trace(jax.jacfwd(lambda r: field(r[None])[0])(x[0])), atol=1e-12)
    estimates = np.asarray(hutchinson_trace(field, x, v)[1])
    assert abs(estimates.mean() - exact[0]) < 4 * estimates.std() / np.sqrt(n)


def test_beyond_sixteen_dimensions_noise_gives_an_unbiased_log_det_that_one_solve_keeps():
    with jax.enable_x64(True):
        matrix = np.random.default_rng(0).standard_normal((17, 17)) / 17
        ode = evaluating(linear(matrix))
        x = jnp.ones((2000, 17))
        estimates = np.asarray(jax.jit(lambda x: ode.estimate(x, None, nnx.Rngs(0)))(x)[1])
        assert estimates.std() > 0
        assert abs(estimates.mean() - np.trace(matrix)) < 4 * estimates.std() / np.sqrt(2000)
        # With one v for a whole solve of a linear field the integral is vᵀ M v: of the values that signs can give.
        v = np.random.default_rng(1).choice([-1.0, 1.0], (100_000, 17))
        possible = np.einsum("ni,ij,nj->n", v, matrix, v)
        assert estimates.min() >= possible.min() - 0.1
        assert abs(estimates.std() - possible.std()) < 0.05 * possible.std()
        np.testing.assert_allclose(jax.jit(ode.forward)(x[:2])[1], np.trace(matrix), atol=1e-10)  # without noise: exact


def test_rk4_is_of_order_four(rows):
    exact = rows @ exponential(MATRIX).T
    solve = jax.jit(lambda y, n: rk4(lambda y, t: y @ MATRIX.T, y, TO_BASE, n), static_argnums=1)
    errors = [np.abs(solve(jnp.asarray(rows), n) - exact).max() for n in (10, 20, 40)]
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 4, atol=0.15)


def test_the_tableau_has_the_order_conditions():
    full = np.concatenate([np.zeros((1, 7)), A])
    c, b = np.concatenate([[0], C]), full[6]
    np.testing.assert_allclose(full.sum(1), c, atol=1e-14)
    for order in range(1, 6):
        np.testing.assert_allclose(b @ c ** (order - 1), 1 / order, atol=1e-14)
    embedded = b - ERROR
    for order in range(1, 5):
        np.testing.assert_allclose(embedded @ c ** (order - 1), 1 / order, atol=1e-14)
    np.testing.assert_allclose(b @ full @ c**2, 1 / 12, atol=1e-14)
    np.testing.assert_allclose(b @ full @ full @ c, 1 / 24, atol=1e-14)


def test_the_error_follows_the_tolerance(rows):
    solve = jax.jit(lambda y, tau: dopri5(lambda y, t: 3 * y @ MATRIX.T, y, TO_BASE, tolerance=tau, max_steps=1000))
    exact = rows @ exponential(3 * MATRIX).T
    for tolerance in (1e-4, 1e-7, 1e-10):
        # Errors of single steps add up over the span.
        assert np.abs(solve(jnp.asarray(rows), tolerance) - exact).max() < 50 * tolerance * np.abs(exact).max()


def test_a_row_does_not_depend_on_its_neighbours(rows):
    ode = evaluating(ODE(lambda x, t, context: jnp.sin(x**2), (3,), tolerance=1e-4))
    forward = jax.jit(ode.forward)
    wild = np.concatenate([rows, np.full((1, 3), 30.0)])
    # Equal up to how a wider batch is vectorised; a step shared by the batch would differ by the tolerance.
    np.testing.assert_allclose(forward(jnp.asarray(wild))[0][:4], forward(jnp.asarray(rows))[0], rtol=1e-11)


def test_training_gives_the_gradient_of_the_solution(rows):
    def loss(scale):
        ode = ODE(lambda x, t, context: scale * x @ MATRIX.T, (3,), n_steps=40)
        z, log_det = ode.forward(jnp.asarray(rows))
        return (z**2).sum() + log_det.sum()

    step = 1e-5
    exact = [
        ((rows @ exponential(s * MATRIX).T) ** 2).sum() + s * 4 * np.trace(MATRIX) for s in (0.7 + step, 0.7 - step)
    ]
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(0.7), (exact[0] - exact[1]) / (2 * step), rtol=1e-5)


def test_a_solver_out_of_steps_names_tolerance_time_and_count():
    ode = evaluating(linear(50 * MATRIX[:2, :2], tolerance=1e-6, max_steps=5))
    with pytest.raises(ValueError, match=r"reach t = 1 at tolerance 1e-06, got to t = 0\.\d+ in 5 steps \(2 of 2 rows"):
        ode.forward(jnp.ones((2, 2)))
    assert np.isnan(jax.jit(ode.forward)(jnp.ones((2, 2)))[0]).all()  # never a wrong number


def test_a_field_without_a_value_is_refused():
    ode = evaluating(ODE(lambda x, t, context: jnp.log(x - 2), (1,), max_steps=7))
    with pytest.raises(ValueError, match="in 7 steps"):
        ode.forward(jnp.ones((1, 1)))


def test_dopri5_takes_few_steps_where_the_field_is_smooth():
    calls = []

    def field(y, t):
        jax.debug.callback(lambda: calls.append(1))
        return -y

    dopri5(field, jnp.ones((1, 2)), TO_BASE, tolerance=1e-5, max_steps=100)
    jax.effects_barrier()
    assert len(calls) <= 1 + 6 * 5
