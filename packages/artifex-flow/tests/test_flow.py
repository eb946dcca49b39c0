"""What every recipe shares: densities, samples, conditions, the first batch, and what is refused."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

from artifex.core import Trainer, TrainerConfig, create_model, load_model
from artifex.core.data.spec import DataSpec
from artifex.core.leaves import flatten
from artifex.flow.base import StandardNormal
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.linear import ActNorm
from artifex.flow.maf import MAF, MAFConfig
from artifex.flow.networks import MLPConfig
from artifex.flow.realnvp import RealNVP, RealNVPConfig


class Normal(Flow):
    """An affine map under a normal: a diagonal Gaussian."""

    def __init__(self, config: FlowConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, StandardNormal((2,), config.dtype), ActNorm((2,), rngs=rngs), rngs=rngs)


@pytest.fixture(scope="module")
def normal():
    model = Normal(FlowConfig(), rngs=nnx.Rngs(0))
    model.bijector.shift[...] = jnp.asarray([1.0, -2.0])  # mean −1, 2
    model.bijector.log_scale[...] = jnp.asarray([0.5, -0.5])  # deviation e^−½, e^½
    return model


MEAN, STD = np.array([-1.0, 2.0]), np.exp([-0.5, 0.5])


def test_log_prob_is_that_of_the_pushed_gaussian(normal):
    x = np.random.default_rng(0).standard_normal((5, 2))
    expected = scipy.stats.norm.logpdf(x, MEAN, STD).sum(1)
    np.testing.assert_allclose(normal.log_prob(jnp.asarray(x)), expected, rtol=1e-5)
    outputs = normal(jnp.asarray(x))
    np.testing.assert_allclose(outputs["log_prob"], expected, rtol=1e-5)
    np.testing.assert_allclose(outputs["z"], (x - MEAN) / STD, rtol=1e-5)
    np.testing.assert_allclose(normal.loss_fn({}, outputs)["loss"], -expected.mean(), rtol=1e-5)


def test_padded_rows_do_not_count(normal):
    x = jnp.asarray([[0.0, 0.0], [1.0, 1.0], [jnp.nan, 0.0]])
    losses = normal.loss_fn({"mask": jnp.asarray([1.0, 1.0, 0.0])}, normal(x))
    np.testing.assert_allclose(losses["loss"], -scipy.stats.norm.logpdf(x[:2], MEAN, STD).sum(1).mean(), rtol=1e-5)
    assert float(losses["weight"]) == 2


def test_samples_follow_the_density_and_the_temperature(normal):
    for temperature in (1.0, 0.5):
        x = np.asarray(normal.sample(20_000, rngs=nnx.Rngs(0), temperature=temperature))
        for i in range(2):
            law = scipy.stats.norm(MEAN[i], temperature * STD[i])
            assert scipy.stats.kstest(x[:, i], law.cdf).pvalue > 1e-4


def test_samples_come_with_their_own_density(normal):
    x, log_prob = normal.sample_and_log_prob(7, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(log_prob, normal.log_prob(x), rtol=1e-5)
    np.testing.assert_array_equal(x, normal.generate(7, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def shifted():
    return (5 + 3 * np.random.default_rng(0).standard_normal((64, 2))).astype(np.float32)


def test_the_first_batch_sets_the_norms_once(shifted, tmp_path):
    trainer = Trainer(Normal(FlowConfig(), rngs=nnx.Rngs(0)), TrainerConfig(steps=2, batch_size=64))
    trainer.fit({"x": shifted}, steps=1)
    model = trainer.model()
    np.testing.assert_allclose(model.bijector.first_shift[...], -shifted.mean(0), rtol=1e-4)
    np.testing.assert_allclose(model.bijector.first_log_scale[...], -np.log(shifted.std(0)), rtol=1e-4)
    trainer.fit({"x": 100 + shifted}, steps=1)
    np.testing.assert_array_equal(trainer.model().bijector.first_shift[...], model.bijector.first_shift[...])
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model", Normal)
    assert bool(again.initialised[...])
    np.testing.assert_array_equal(again.bijector.first_shift[...], model.bijector.first_shift[...])


def test_evaluating_changes_nothing(shifted):
    model = MAF(MAFConfig(n_layers=2, hidden_dims=(4,)), rngs=nnx.Rngs(0))
    before = flatten(model)[1]
    model.log_prob(jnp.asarray(shifted))
    after = flatten(model)[1]
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []


@pytest.fixture(scope="module")
def conditional():
    config = RealNVPConfig(dim=2, n_layers=1, net=MLPConfig(hidden_dims=(4,)), context_dim=3)
    return RealNVP(config, rngs=nnx.Rngs(0))


X = jnp.zeros((4, 2))


def test_classes_enter_as_one_hot(conditional, lively):
    model = lively(conditional)
    vectors = model.log_prob(X, y=jnp.eye(3)[jnp.asarray([0, 1, 2, 1])])
    np.testing.assert_allclose(model.log_prob(X, y=jnp.asarray([0, 1, 2, 1])), vectors, rtol=1e-6)
    assert len(np.unique(np.asarray(vectors))) == 3
    assert bool(jnp.isnan(model.log_prob(X, y=jnp.asarray([0, 1, 3, 1]))[2]))  # no class: no other one's density


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "expected a condition y, got none. Pass y."),
        (jnp.zeros((4, 2)), r"expected a condition y of width 3, got shape \(4, 2\)"),
    ],
)
def test_a_missing_or_wrong_condition_is_refused(conditional, y, message):
    with pytest.raises(ValueError, match=message):
        conditional.log_prob(X, y=y)
    with pytest.raises(ValueError, match=message):
        conditional.generate(4, y=y, rngs=nnx.Rngs(0))


def test_a_condition_that_nothing_takes_is_refused(normal):
    with pytest.raises(ValueError, match=r"expected no condition, got y of shape \(4,\). Set context_dim."):
        normal.log_prob(X, y=jnp.zeros(4, int))


def test_another_event_shape_is_refused(normal):
    with pytest.raises(ValueError, match=r"expected events of shape \(2,\), got \(3,\)"):
        normal.log_prob(jnp.zeros((4, 3)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec(shape=(3,)), r"expected data of shape \(2,\), got \(3,\)"),
        (DataSpec(shape=(2,), dtype="int32"), "expected continuous data, got integer levels"),
        (DataSpec(shape=(2,), levels=256), "expected continuous data, got 256 levels.*dequantises"),
    ],
)
def test_data_that_have_no_density_here_are_refused(normal, spec, message):
    normal.check_data(DataSpec(shape=(2,)))
    with pytest.raises(ValueError, match=message):
        normal.check_data(spec)


def test_data_with_other_conditions_are_refused(conditional):
    conditional.check_data(DataSpec(shape=(2,), n_classes=3))
    conditional.check_data(DataSpec(shape=(2,), condition_shape=(3,)))
    with pytest.raises(ValueError, match="expected conditions y of 3 classes or of shape"):
        conditional.check_data(DataSpec(shape=(2,), n_classes=4))


def test_a_negative_context_width_is_refused():
    with pytest.raises(ValueError, match="expected 'context_dim' >= 0, got -1"):
        FlowConfig(context_dim=-1)


def test_a_model_that_diverged_is_not_saved(tmp_path):
    model = create_model("maf", rngs=nnx.Rngs(0), n_layers=1, hidden_dims=(4,))
    layer = model.bijector.bijectors[1].layers.bijectors[0].made.layers[0]
    layer.bias[...] = jnp.full_like(layer.bias[...], jnp.inf)
    with pytest.raises(ValueError, match="got NaN or infinity in 'bijector/bijectors/1/layers"):
        model.save(tmp_path / "model")
