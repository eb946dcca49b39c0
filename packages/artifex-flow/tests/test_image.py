"""Bijectors of pictures against autodiff Jacobians and closed forms."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.data.source import ArraySource
from artifex.core.data.spec import DataSpec
from artifex.core.evaluation.scoring import Scoring
from artifex.core.leaves import variables
from artifex.flow.base import StandardNormal, Uniform
from artifex.flow.bijector import Chain
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.image import (
    Conv1x1,
    Dequantise,
    Flatten,
    Logit,
    Rescale,
    Split,
    Squeeze,
    ZeroConv,
    check_sides,
    checkerboard,
    from_levels,
    half_of_channels,
)

EVENT = (4, 4, 2)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def stirred(module: nnx.Module, scale: float = 0.3) -> nnx.Module:
    """The module with noise on its parameters, in float64, so that nothing is at its start."""
    rng = np.random.default_rng(0)
    for _, variable in variables(module):
        if isinstance(variable, nnx.Param):
            variable.set_value(jnp.asarray(variable[...] + scale * rng.standard_normal(variable.shape)))
    return module


def pictures(n: int = 2, event: tuple[int, ...] = EVENT) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).uniform(0.05, 0.95, (n, *event)))


BIJECTORS = {
    "rescale": lambda: Rescale(EVENT, -1.7, 0.3),
    "logit": lambda: Logit(EVENT),
    "flatten": lambda: Flatten(EVENT),
    "squeeze": lambda: Squeeze(EVENT),
    "conv1x1": lambda: stirred(Conv1x1((4, 4, 3), rngs=nnx.Rngs(0))),
    "split": lambda: Split(EVENT, Flatten((4, 4, 1)), stirred(ZeroConv(1, 2, rngs=nnx.Rngs(0)))),
    "split_without_prior": lambda: Split(EVENT, Flatten((4, 4, 1))),
}


@pytest.mark.parametrize("name", BIJECTORS)
def test_log_det_equals_autodiff_jacobian_and_the_inverse_undoes_it(name):
    bijector = BIJECTORS[name]()

    @jax.jit
    def everything(x):
        z, log_det = bijector.forward(x)
        again, back = bijector.inverse(z)
        jacobian = jax.vmap(jax.jacfwd(lambda row: bijector.forward(row.reshape(1, *x.shape[1:])).value.ravel()))
        return again, log_det, back, jacobian(x.reshape(len(x), -1))

    x = pictures(event=bijector.event_shape)
    again, log_det, back, jacobian = everything(x)
    np.testing.assert_allclose(again, x, atol=1e-10)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-10)
    np.testing.assert_allclose(back, -log_det, atol=1e-10)
    if name in ("squeeze", "flatten"):  # a permutation: one 1 in each row and column
        np.testing.assert_array_equal(np.sort(jacobian[0], axis=1)[:, -2:], [[0, 1]] * 32)
        np.testing.assert_array_equal(jacobian[0].sum(0), np.ones(32))


def test_squeeze_puts_the_four_pixels_of_a_block_into_the_channels_of_one():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(Squeeze((4, 4, 1)).forward(x).value[0, 1, 0], [8, 9, 12, 13])


def test_conv1x1_begins_as_a_rotation_and_is_the_product_of_its_factors():
    conv = Conv1x1((1, 1, 5), rngs=nnx.Rngs(3))
    basis = jnp.eye(5).reshape(5, 1, 1, 5)
    start = np.asarray(conv.forward(basis).value).reshape(5, 5).T  # columns W e_i
    np.testing.assert_allclose(start @ start.T, np.eye(5), atol=1e-6)  # drawn in float32
    np.testing.assert_allclose(conv.forward(basis).log_det, 0, atol=1e-6)
    stirred(conv)
    w = np.asarray(conv.forward(basis).value).reshape(5, 5).T
    lower, upper = (np.asarray(factor) for factor in conv.factors(jnp.float64))
    np.testing.assert_allclose(w, (lower @ upper)[np.asarray(conv.order[...])], atol=1e-14)
    np.testing.assert_allclose(np.diag(lower), 1)
    assert np.abs(np.tril(upper, -1)).max() == 0


def test_split_noise_is_standard_normal_where_the_half_follows_its_prior():
    split = Split(EVENT, Flatten((4, 4, 1)), stirred(ZeroConv(1, 2, rngs=nnx.Rngs(0))))
    z = jnp.asarray(np.random.default_rng(0).standard_normal((3, 32)))
    x = split.inverse(z).value
    mean, log_std = split.moments(x[..., :1])
    # N(x₂; μ, σ²) by hand equals N(ε; 0, 1) and the log-determinant.
    by_hand = -0.5 * ((x[..., 1:] - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
    z, log_det = split.forward(x)
    noise = -0.5 * (z[:, 16:] ** 2 + math.log(2 * math.pi)).sum(1)
    np.testing.assert_allclose(by_hand.sum((1, 2, 3)), noise + log_det, atol=1e-10)


def test_the_masks_halve_a_picture():
    board = checkerboard((4, 6, 3))
    assert board.sum() == 12
    assert np.abs(np.diff(board[..., 0], axis=0)).min() == 1  # neighbours differ, both ways
    assert np.abs(np.diff(board[..., 0], axis=1)).min() == 1
    np.testing.assert_array_equal(half_of_channels((2, 2, 4)).ravel(), [1, 1, 0, 0])


def test_dequantised_levels_fill_their_cells_and_are_restored():
    dequantise = Dequantise(5)
    x = jnp.tile(jnp.arange(5.0) / 4, (2000, 1))
    noisy, log_volume = dequantise(x, nnx.Rngs(0))
    cell = np.asarray((noisy - x) * 4)
    assert cell.min() >= 0
    assert cell.max() < 1
    # Mean and variance of a uniform number, 4 standard errors of 10,000 draws.
    assert abs(cell.mean() - 0.5) < 4 * math.sqrt(1 / 12 / cell.size)
    assert abs(cell.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / cell.size)
    np.testing.assert_allclose(log_volume, -5 * math.log(4), atol=1e-12)
    np.testing.assert_array_equal(dequantise.restore(noisy), x)


def test_a_uniform_density_costs_the_bits_of_its_levels():
    event = (4, 4, 1)
    model = Flow(
        FlowConfig(),
        Uniform(event, 0.5),
        from_levels(event, 17, low=-0.5),
        dequantise=Dequantise(17),
        rngs=nnx.Rngs(0),
    )
    x = jnp.asarray(np.random.default_rng(0).integers(0, 17, (8, *event)) / 16)
    losses = model.loss_fn({"x": x}, model(x, rngs=nnx.Rngs(1)))
    np.testing.assert_allclose(losses["bits_per_dim"], math.log2(17), rtol=1e-12)
    np.testing.assert_allclose(losses["loss"], 16 * math.log(17), rtol=1e-12)
    # And so says the evaluation of any model by any data.
    source = ArraySource({"x": np.asarray(x)}, DataSpec(shape=event, low=0.0, high=1.0, levels=17))
    (found,), _ = Scoring(model, source, "uniform", 0).results(["bits_per_dim"])
    np.testing.assert_allclose(found.value, math.log2(17), rtol=1e-6)


def normal_cdf(z: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(z)


def test_the_bound_of_each_level_is_that_of_quadrature_and_below_its_mass():
    levels, n = 4, 4000
    event = (1, 1, 1)
    bijector = Chain(from_levels(event, levels), Logit(event), Flatten(event))
    model = Flow(FlowConfig(), StandardNormal((1,)), bijector, dequantise=Dequantise(levels), rngs=nnx.Rngs(0))
    edges = np.linspace(0, 1, levels + 1)
    z = np.log(0.05 + 0.9 * edges) - np.log(0.95 - 0.9 * edges)
    mass = np.diff(normal_cdf(z))
    nodes, weights = np.polynomial.legendre.leggauss(40)
    for k in range(levels):
        x = jnp.full((n, *event), k / (levels - 1))
        draws = np.asarray(model(x, rngs=nnx.Rngs(k))["log_prob"])
        y = (k + (nodes + 1) / 2) / levels
        p = 0.05 + 0.9 * y
        density = -0.5 * (np.log(p / (1 - p)) ** 2 + math.log(2 * math.pi)) + np.log(0.9 / (p * (1 - p)))
        bound = weights @ density / 2 - math.log(levels)
        assert abs(draws.mean() - bound) < 4 * draws.std() / math.sqrt(n)
        assert bound < math.log(mass[k])


def test_logit_gives_no_density_outside_its_support_and_finite_gradients():
    logit = Logit((1,))
    x = jnp.asarray([[-0.2], [0.0], [1.0], [1.2]])
    np.testing.assert_array_equal(np.isfinite(logit.forward(x).log_det), [False, True, True, False])
    gradient = jax.grad(lambda x: logit.forward(x).value.sum())(x)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("event", [(5, 4, 1), (4, 7, 2), (4, 4)])
def test_odd_sides_are_refused(event):
    with pytest.raises(ValueError, match=r"Squeeze: expected pictures .* even sides, got \(. "[:-1]):
        Squeeze(event)


def test_sides_that_do_not_halve_often_enough_name_the_nearest_that_do():
    with pytest.raises(ValueError, match=r"divide by 8 for 3 scales, got \(28, 28, 1\). The nearest sides are \(24"):
        check_sides("GlowConfig", (28, 28, 1), 3)
    check_sides("GlowConfig", (28, 28, 1), 2)


def test_an_alpha_without_a_logit_is_refused():
    with pytest.raises(ValueError, match=r"0 < 'alpha' < 1/2, got 0.5"):
        Logit((2, 2, 1), alpha=0.5)
