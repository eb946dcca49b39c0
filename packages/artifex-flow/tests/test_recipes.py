"""Every recipe for vectors: exact inverses of the defaults, exact log-determinants, densities that sum to 1."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

from artifex.core import create_model
from artifex.core.leaves import flatten, merge

# Short flows for the laws that cost a Jacobian or a grid; the round trip runs the defaults.
SMALL = {"type": "mlp", "hidden_dims": (16,)}
RECIPES = {
    "realnvp": {"n_layers": 3, "net": SMALL},
    "maf": {"n_layers": 3, "hidden_dims": (16,)},
    "iaf": {"n_layers": 3, "hidden_dims": (16,)},
    "neural_spline": {"n_layers": 3, "transform": {"type": "coupling", "net": SMALL}},
    "neural_spline autoregressive": {
        "n_layers": 2,
        "transform": {"type": "autoregressive", "hidden_dims": (16,)},
    },
    "conditional_flow": {"n_layers": 3, "net": SMALL, "context_dim": 2},
    "circular_nsf": {"n_layers": 3, "net": SMALL},
}
QUICK = ("realnvp", "maf", "neural_spline")  # the others reach the same transforms by longer ways
DEFAULTS = ("realnvp", "maf", "iaf", "neural_spline", "conditional_flow", "circular_nsf")


def build(name: str, **fields):
    return create_model(name.split()[0], rngs=nnx.Rngs(0), **fields)


def compiled(model, function):
    """`function(model, ...)` as one program."""
    layout, arrays = flatten(model)
    run = jax.jit(lambda arrays, *args: function(merge(layout, arrays), *args))
    return lambda *args: run(arrays, *args)


def given(model, n: int) -> dict[str, jax.Array]:
    """The same condition for each row, where the model takes one."""
    width = model.config.context_dim
    return {"y": jnp.broadcast_to(jnp.linspace(-1, 1, width), (n, width))} if width else {}


def points(name: str, n: int, dim: int, dtype: str) -> jax.Array:
    x = np.random.default_rng(0).standard_normal((n, dim))
    return jnp.asarray(2 * np.arctan(x) if name == "circular_nsf" else x, dtype)


REVERSED = {"mixing": "reverse", "transform": {"type": "coupling", "net": SMALL, "own_splines": False}}


@pytest.mark.parametrize(("name", "changes"), [("realnvp", {}), ("circular_nsf", {}), ("neural_spline", REVERSED)])
def test_couplings_of_an_odd_number_move_every_one(name, changes, lively):
    model = lively(build(name, dim=3, **{**RECIPES[name], **changes}))
    x = points(name, 1, 3, "float32")[0]
    jacobian = jax.jit(jax.jacfwd(lambda row: model.forward(row[None]).value[0]))(x)
    assert (jacobian != 0).all(), jacobian  # one that nothing moves would depend on itself alone


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("maf", "float32", 1e-4),
        ("maf", "float64", 1e-10),
        pytest.param("neural_spline", "float32", 1e-4, marks=pytest.mark.slow),
        *(pytest.param(name, "float64", 1e-10, marks=pytest.mark.slow) for name in DEFAULTS if name != "maf"),
    ],
)
def test_the_default_config_inverts_itself(x64, name, dtype, tolerance, lively):
    model = lively(build(name, dim=4, dtype=dtype), scale=0.005, dtype=dtype)
    x = points(name, 16, 4, dtype)
    y = given(model, 16)

    def there_and_back(model, x):
        z, log_det = model.forward(x, **y)
        again, back = model.inverse(z, **y)
        return again, log_det, back

    again, log_det, back = compiled(model, there_and_back)(x)
    np.testing.assert_allclose(again, x, atol=tolerance)
    np.testing.assert_allclose(back, -log_det, atol=tolerance)
    assert float(jnp.abs(log_det).max()) > 1e-3


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in RECIPES],
)
def test_every_recipe_keeps_the_laws(x64, name, lively, laws):
    model = lively(build(name, dim=3, dtype="float64", **RECIPES[name]), scale=0.2, dtype="float64")
    errors = laws(model.bijector, points(name, 8, 3, "float64"), given(model, 8).get("y"))
    assert max(errors.values()) < 1e-10, errors


@pytest.fixture(scope="module")
def moved(lively):
    """A small flow of each recipe in the plane, away from its start."""
    return {name: lively(build(name, dim=2, **fields), scale=0.1) for name, fields in RECIPES.items()}


@pytest.fixture(scope="module")
def densities(moved):
    """exp(log p) of each recipe on a grid of 400 × 400 points in ±8, [x₁, x₂]."""
    found, sides = {}, {"circular_nsf": np.pi, "realnvp": 16.0}  # 0.4 % of the random RealNVP lie beyond 8
    for name, model in moved.items():
        side = sides.get(name, 8.0)
        axis = np.linspace(-side, side, 400)
        grid = jnp.asarray(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2), jnp.float32)
        log_prob = compiled(model, lambda m, x: m.log_prob(x, **given(m, len(x))))(grid)
        found[name] = axis, np.exp(np.asarray(log_prob, float)).reshape(400, 400)
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_the_density_integrates_to_one(densities, name):
    axis, density = densities[name]
    assert abs(np.trapezoid(np.trapezoid(density, axis), axis) - 1) < 1e-3


@pytest.mark.parametrize("name", ["maf", "iaf", "neural_spline autoregressive"])
def test_a_density_of_one_number_integrates_to_one(name, lively):
    model = lively(build(name, dim=1, **RECIPES[name]), scale=0.4)
    axis = np.linspace(-12, 12, 4001)
    log_prob = compiled(model, lambda m, x: m.log_prob(x))(jnp.asarray(axis[:, None], jnp.float32))
    assert abs(np.trapezoid(np.exp(np.asarray(log_prob, float)), axis) - 1) < 1e-3


@pytest.mark.parametrize("name", RECIPES)
def test_samples_have_the_marginals_of_the_density(moved, densities, name):
    model = moved[name]
    x = np.asarray(model.sample(20_000, rngs=nnx.Rngs(1), **given(model, 20_000)))
    axis, density = densities[name]
    for i in range(2):
        marginal = np.trapezoid(density, axis, axis=1 - i)
        rising = np.concatenate([[0], np.cumsum((marginal[1:] + marginal[:-1]) / 2 * np.diff(axis))])
        law = scipy.stats.kstest(x[:, i], lambda v, r=rising: np.interp(v, axis, r / r[-1]))
        assert law.pvalue > 1e-4, (name, i, law)


def test_an_untrained_neural_spline_flow_only_permutes(x64):
    model = build("neural_spline", dim=4, dtype="float64")
    x = points("neural_spline", 8, 4, "float64")
    z, log_det = compiled(model, lambda m, x: m.forward(x))(x)
    np.testing.assert_allclose(np.sort(z), np.sort(x), atol=1e-12)
    np.testing.assert_allclose(log_det, 0, atol=1e-12)


def test_a_reversal_takes_the_place_of_the_permutation(x64):
    masked = {"type": "autoregressive", "hidden_dims": (8,)}
    model = build("neural_spline", dim=4, n_layers=3, mixing="reverse_lu", transform=masked, dtype="float64")
    x = points("neural_spline", 8, 4, "float64")
    np.testing.assert_allclose(compiled(model, lambda m, x: m.forward(x).value)(x), x[:, ::-1], atol=1e-12)
    assert any("factors" in path for path in flatten(model)[1])


def test_an_iaf_gives_the_density_of_its_own_samples_in_one_pass(moved):
    model = moved["iaf"]
    x, log_prob = compiled(model, lambda m: m.sample_and_log_prob(50, rngs=nnx.Rngs(0)))()
    np.testing.assert_allclose(log_prob, compiled(model, lambda m, x: m.log_prob(x))(x), atol=1e-4)
    assert (model.bijector.bijectors[1].fast, moved["maf"].bijector.fast) == ("inverse", "forward")


def test_a_circular_density_has_no_seam(moved):
    model = moved["circular_nsf"]
    left, right = (jnp.stack([jnp.full(9, side), jnp.linspace(-3, 3, 9)], -1) for side in (-np.pi + 1e-5, np.pi - 1e-5))
    log_prob = compiled(model, lambda m, x: m.log_prob(x))
    np.testing.assert_allclose(log_prob(left), log_prob(right), atol=1e-3)
    np.testing.assert_allclose(log_prob(left[:, ::-1]), log_prob(right[:, ::-1]), atol=1e-3)


def test_what_is_no_angle_has_no_density(moved):
    log_prob = compiled(moved["circular_nsf"], lambda m, x: m.log_prob(x))
    np.testing.assert_array_equal(log_prob(jnp.asarray([[4.0, 0.0], [0.0, -3.5]])), -np.inf)


def test_a_density_depends_on_the_condition(moved):
    model = moved["conditional_flow"]
    x = jnp.zeros((2, 2))
    log_prob = compiled(model, lambda m, y: m.log_prob(x, y=y))(jnp.asarray([[1.0, 0.0], [0.0, 1.0]]))
    assert abs(float(log_prob[0] - log_prob[1])) > 1e-2


def test_a_conditional_flow_without_a_condition_is_refused():
    with pytest.raises(ValueError, match="expected 'context_dim' >= 1, got 0"):
        build("conditional_flow", context_dim=0)
