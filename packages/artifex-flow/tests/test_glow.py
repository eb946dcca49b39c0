"""Glow against its full Jacobian, the statistics of its first batch, and the bits of a uniform picture."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.data.spec import DataSpec
from artifex.core.leaves import flatten, merge, select, variables
from artifex.core.training.objective import StepContext
from artifex.flow.bijector import Chain
from artifex.flow.flow import initialise_once
from artifex.flow.glow import AffineCoupling, Glow, GlowConfig
from artifex.flow.image import Conv1x1, Split
from artifex.flow.linear import ActNorm

EVENT = (4, 4, 3)
CONFIG = GlowConfig(event_shape=EVENT, levels=8, n_scales=2, n_steps=1, hidden_channels=6)


def float64_glow(lively, **changes) -> Glow:
    """A Glow with lively parameters, so that no coupling is the identity."""
    return lively(Glow(CONFIG.replace(dtype="float64", **changes), rngs=nnx.Rngs(0)), 0.2)


def levels(n: int, event: tuple[int, ...] = EVENT, n_levels: int = 8) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).integers(0, n_levels, (n, *event)) / (n_levels - 1))


def changes(model: Glow, x: jax.Array, y: jax.Array | None = None):
    """x again, log-determinants of both directions, and that of the full Jacobian, in one program."""
    layout, arrays = flatten(model)

    @jax.jit
    def run(arrays, x, y):
        model = merge(layout, arrays)
        z, log_det = model.forward(x, y=y)
        again, back = model.inverse(z, y=y)

        def one(row, y):
            return model.forward(row.reshape(1, *x.shape[1:]), y=None if y is None else y[None]).value[0]

        rows = x.reshape(len(x), -1)
        jacobian = jax.vmap(jax.jacfwd(one), (0, None if y is None else 0))(rows, y)
        return again, log_det, back, jnp.linalg.slogdet(jacobian)[1]

    return run(arrays, x, y)


@pytest.mark.parametrize(("context_dim", "y"), [(0, None), pytest.param(3, np.array([0, 2]), marks=pytest.mark.slow)])
def test_log_det_equals_the_full_jacobian_and_the_inverse_undoes_it(context_dim, y, lively, x64):
    model = float64_glow(lively, context_dim=context_dim)
    x = levels(2)
    again, log_det, back, exact = changes(model, x, None if y is None else jnp.asarray(y))
    np.testing.assert_allclose(again, x, atol=1e-10)
    np.testing.assert_allclose(log_det, exact, atol=1e-10)
    np.testing.assert_allclose(back, -log_det, atol=1e-10)


def test_an_untrained_glow_only_turns_halves_and_shrinks(x64):
    model = Glow(CONFIG.replace(dtype="float64"), rngs=nnx.Rngs(0))
    log_det = jax.jit(model.forward)(levels(2)).log_det
    # Rotations have none; the couplings scale half of 48 and half of 24 numbers by σ(2), Rescale all by 7/8.
    exact = (24 + 12) * -math.log1p(math.exp(-2)) + 48 * math.log(7 / 8)
    np.testing.assert_allclose(log_det, exact, atol=1e-5)  # the rotation was drawn in float32


def normed(bijector, x: jax.Array) -> list[np.ndarray]:
    """What every ActNorm gives, at all scales, in the order of the forward direction."""
    if isinstance(bijector, ActNorm):
        return [bijector.forward(x).value]
    if isinstance(bijector, Split):
        return normed(bijector.rest, bijector.part(x)[0])
    found = []
    for part in bijector.bijectors if isinstance(bijector, Chain) else ():
        found += normed(part, x)
        x = x if isinstance(part, Split) else part.forward(x).value
    return found


@pytest.mark.slow
def test_prepare_gives_every_actnorm_mean_zero_and_variance_one_once():
    model = Glow(CONFIG, rngs=nnx.Rngs(0))
    x = levels(64).astype(jnp.float32)
    mask = jnp.asarray(np.arange(64) < 48, jnp.float32)
    batch = {"x": jnp.where(mask[:, None, None, None] > 0, x, jnp.nan), "mask": mask}
    layout, arrays = flatten(model)

    @jax.jit
    def prepared(arrays, batch, seed):
        model = merge(layout, arrays)
        initialise_once(model, batch, StepContext(jnp.zeros((), int), 1, nnx.Rngs(jax.random.key(seed))))
        return flatten(model)[1]

    first = prepared(arrays, batch, 0)
    again = prepared(first, {"x": x[::-1] / 2, "mask": mask}, 1)
    for path, value in first.items():
        np.testing.assert_array_equal(value, again[path])  # a second batch changes nothing

    @jax.jit
    def after_norms(arrays, x):
        model = merge(layout, arrays)
        return normed(model.bijector, model.dequantise(x, nnx.Rngs(5)).value)

    found = after_norms(first, x[:48])
    assert [z.shape[1:] for z in found] == [(2, 2, 12), (1, 1, 24)]
    for z in found:
        # Other noise than that of the first batch, which is a seventh of the width of the data.
        np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=0.15)
        np.testing.assert_allclose(z.var((0, 1, 2)), 1, atol=0.3)


def test_actnorm_of_the_first_batch_is_exact(x64):
    norm = ActNorm((4, 4, 3), rngs=nnx.Rngs(0))
    x = jnp.asarray(3 + 2 * np.random.default_rng(0).standard_normal((16, 4, 4, 3)))
    for _, variable in variables(norm):
        variable.set_value(variable[...].astype(jnp.float64))
    z = np.asarray(norm.initialise(x, None, jnp.ones(16)))
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-10)
    np.testing.assert_allclose(z.var((0, 1, 2)), 1, atol=1e-10)


def test_an_untrained_model_is_a_valid_density_and_log_prob_changes_nothing():
    model = Glow(CONFIG.replace(n_scales=1), rngs=nnx.Rngs(0))
    before = flatten(model)[1]
    model.log_prob(levels(2).astype(jnp.float32))
    after = flatten(model)[1]
    for path, value in before.items():
        np.testing.assert_array_equal(value, after[path])


def test_bits_count_every_log_det(lively, x64):
    model = float64_glow(lively)
    x = levels(2)

    @jax.jit
    def run(x):
        noisy, _ = model.dequantise(x, nnx.Rngs(7))
        return model.loss_fn({"x": x}, model(x, rngs=nnx.Rngs(7)))["bits_per_dim"], model.forward(noisy)

    # The log-determinant of the forward direction is that of its Jacobian, by the test above.
    bits, (z, log_det) = jax.device_get(run(x))
    log_p = -0.5 * (z**2 + math.log(2 * math.pi)).sum(1) + log_det - 48 * math.log(7)  # cells are 1/7 wide
    np.testing.assert_allclose(bits, -log_p.mean() / (48 * math.log(2)), rtol=1e-10)


def test_coupling_passes_one_half_and_never_stretches_at_the_start():
    coupling = AffineCoupling((2, 2, 4), 8, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2, 2, 4)), jnp.float32)
    z, log_det = coupling.forward(x)
    np.testing.assert_array_equal(z[..., 2:], x[..., 2:])
    np.testing.assert_allclose(z[..., :2], x[..., :2] / (1 + math.exp(-2)), rtol=1e-6)
    np.testing.assert_allclose(log_det, -8 * math.log1p(math.exp(-2)), rtol=1e-5)


def test_samples_are_levels():
    model = Glow(CONFIG, rngs=nnx.Rngs(0))
    x = np.asarray(model.sample(3, rngs=nnx.Rngs(0), temperature=0.7))
    assert x.shape == (3, *EVENT)
    np.testing.assert_allclose(x * 7, np.round(x * 7), atol=1e-5)
    assert x.min() >= 0
    assert x.max() <= 1


def test_temperature_scales_the_noise_of_every_scale():
    model = Glow(CONFIG, rngs=nnx.Rngs(0))
    cold, warm = (model.base.sample(2, nnx.Rngs(0), None, temperature=t) for t in (0.5, 1.0))
    np.testing.assert_allclose(cold, 0.5 * warm, rtol=1e-6)
    assert warm.shape == (2, 48)  # all scales


def test_the_factors_of_a_convolution_are_parameters_and_its_permutation_is_not():
    model = Glow(CONFIG, rngs=nnx.Rngs(0))
    params, arrays = select(model, nnx.Param), flatten(model)[1]
    place = next(name.removesuffix("log_s") for name in arrays if name.endswith("/log_s"))
    own = {name.removeprefix(place): name in params for name in arrays if name.startswith(place)}
    assert own == {"log_s": True, "lower": True, "upper": True, "order": False, "sign": False}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"event_shape": (28, 28, 1)}, r"divide by 8 to be squeezed 3 times, got \(28, 28, 1\)"),
        ({"event_shape": (5, 4, 1), "n_scales": 1}, "divide by 2 to be squeezed 1 times"),
        ({"levels": 1}, "expected 'levels' >= 2, got 1"),
        ({"n_scales": 0}, "expected 'n_scales' >= 1, got 0"),
    ],
)
def test_bad_configs_name_the_value(fields, message):
    with pytest.raises(ValueError, match=message):
        GlowConfig(**fields)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec(shape=EVENT, low=0.0, high=1.0), "perhaps dequantised before"),
        (DataSpec(shape=EVENT, low=0.0, high=1.0, levels=256), "expected data of 8 levels, got 256"),
        (DataSpec(shape=EVENT, low=0.0, high=255.0, levels=8), r"expected data in \[0, 1\], got \[0.0, 255.0\]"),
        (DataSpec(shape=(8, 8, 3), low=0.0, high=1.0, levels=8), r"expected data of shape \(4, 4, 3\)"),
    ],
)
def test_data_that_the_levels_do_not_cover_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        Glow(CONFIG, rngs=nnx.Rngs(0)).check_data(spec)


def test_conv1x1_of_each_scale_sees_its_channels():
    model = Glow(CONFIG, rngs=nnx.Rngs(0))
    kinds = [m.event_shape for _, m in nnx.iter_modules(model) if isinstance(m, Conv1x1)]
    assert sorted(kinds) == [(1, 1, 24), (2, 2, 12)]
