"""What each variant changes, against its equation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core import Trainer, TrainerConfig, create_model
from artifex.core.data.spec import DataSpec
from artifex.core.prob import gaussian
from artifex.core.prob.gaussian import Gaussian
from artifex.vae import BetaTCVAEConfig, BetaVAEConfig, ConditionalVAEConfig, HierarchicalVAEConfig, VQVAEConfig
from artifex.vae.beta_tc_vae import kl_parts
from artifex.vae.examples import bars, beta_vae, conditional_vae, hierarchical_vae, vq_vae
from artifex.vae.networks import ConvDecoderConfig

X = jnp.asarray(bars()["x"])
Y = jnp.asarray(bars()["y"])


def build(example, **changes):
    return create_model(example()[0].replace(**changes), rngs=nnx.Rngs(0))


def test_beta_weighs_the_kl():
    model = build(beta_vae, beta=4.0)
    losses = model.loss_fn({"x": X}, model(X, rngs=nnx.Rngs(1)))
    np.testing.assert_allclose(losses["loss"], losses["reconstruction"] + 4 * losses["kl"], rtol=1e-6)


def test_capacity_holds_the_mean_kl():
    model = build(beta_vae, capacity=3.0, gamma=10.0, capacity_steps=100)
    outputs = model(X, rngs=nnx.Rngs(1))
    for step, capacity in ((0, 0.0), (50, 1.5), (1000, 3.0)):
        losses = model.loss_fn({"x": X}, outputs, step=jnp.asarray(step))
        expected = losses["reconstruction"] + 10 * abs(float(losses["kl"]) - capacity)
        np.testing.assert_allclose(losses["loss"], expected, rtol=1e-5)


def test_capacity_refuses_gradient_accumulation():
    model = build(beta_vae, capacity=3.0)
    with pytest.raises(ValueError, match="expected grad_accum 1 for objective 'loss', got 2"):
        Trainer(model, TrainerConfig(steps=1, batch_size=16, grad_accum=2))


def test_trained_capacity_is_reached():
    model = build(beta_vae, capacity=1.0, gamma=50.0, capacity_steps=1)
    rows = Trainer(model, TrainerConfig(steps=400, batch_size=16, optimizer={"learning_rate": 3e-3})).fit(
        {"x": np.asarray(X)}
    )
    assert abs(rows[-1]["kl"] - 1.0) < 0.15  # the noise of one batch of 16


def test_total_correlation_parts_add_up_to_the_kl_ratio():
    rng = np.random.default_rng(0)
    q = Gaussian(jnp.asarray(rng.standard_normal((8, 3))), jnp.asarray(0.3 * rng.standard_normal((8, 3))))
    z = gaussian.sample(q, nnx.Rngs(0))
    parts = kl_parts(q, z, 100)
    expected = gaussian.log_prob(q, z) - gaussian.log_prob(gaussian.standard_like(q), z)
    np.testing.assert_allclose(sum(parts), expected, atol=1e-5)


@pytest.mark.slow
def test_aggregate_posterior_is_exact_when_the_batch_is_the_data_set():
    rng = np.random.default_rng(0)
    q = Gaussian(jnp.asarray(rng.standard_normal((6, 2)), jnp.float32), jnp.zeros((6, 2), jnp.float32))
    z = gaussian.sample(q, nnx.Rngs(0))
    rows = np.array([[float(gaussian.log_prob(Gaussian(q.mean[j : j + 1], q.log_std[j : j + 1]), z[i : i + 1])[0])
                      for j in range(6)] for i in range(6)])  # fmt: skip
    log_qz = np.logaddexp.reduce(rows, axis=1) - np.log(6)
    found = gaussian.log_prob(q, z) - kl_parts(q, z, 6).mutual_information
    np.testing.assert_allclose(found, log_qz, atol=1e-5)


@pytest.mark.slow
def test_independent_codes_have_no_total_correlation():
    """Two dimensions whose aggregate is a product: TC is 0 up to Monte Carlo error."""
    side = np.array([-2.0, 2.0])
    mean = np.array([[a, b] for a in side for b in side] * 64, np.float32)
    q = Gaussian(jnp.asarray(mean), jnp.full(mean.shape, -1.0))
    tc = np.asarray(kl_parts(q, gaussian.sample(q, nnx.Rngs(0)), len(mean)).total_correlation)
    assert abs(tc.mean()) < 4 * tc.std() / np.sqrt(len(mean)) + 1e-3


def test_missing_training_size_is_refused():
    with pytest.raises(ValueError, match="expected 'n_train'"):
        BetaTCVAEConfig()


def test_ladder_merges_by_precision():
    model = build(hierarchical_vae)
    out = model(X, rngs=nnx.Rngs(0))
    estimate = model.estimates(X)[0]
    prior, merged = out["prior"][0], out["posterior"][0]
    a, b = np.exp(-2 * np.asarray(estimate.log_std, float)), np.exp(-2 * np.asarray(prior.log_std, float))
    np.testing.assert_allclose(np.exp(-2 * np.asarray(merged.log_std, float)), a + b, rtol=1e-4)
    expected = (np.asarray(estimate.mean) * a + np.asarray(prior.mean) * b) / (a + b)
    np.testing.assert_allclose(merged.mean, expected, atol=1e-5)


def test_ladder_loss_is_minus_its_mean_log_weight():
    model = build(hierarchical_vae)
    keys = jax.random.split(jax.random.key(0), 2000)
    loss = jax.jit(jax.vmap(lambda k: model.loss_fn({"x": X}, model(X, rngs=nnx.Rngs(k)))["loss"]))(keys)
    weight = jax.jit(jax.vmap(lambda k: model.log_weight(X, rngs=nnx.Rngs(k)).mean()))(keys)
    error = np.sqrt(float(loss.var() + weight.var()) / 2000)
    assert abs(float(loss.mean() + weight.mean())) < 4 * error


def test_ladder_wants_two_levels():
    with pytest.raises(ValueError, match="expected two levels or more"):
        HierarchicalVAEConfig(latent_dims=(4,), hidden_dims=(4,))


def test_conditional_kl_is_against_the_conditional_prior():
    model = build(conditional_vae, drop_condition=0.0)
    outputs = model(X, y=jnp.asarray(Y), rngs=nnx.Rngs(0))
    losses = model.loss_fn({"x": X, "y": Y}, outputs)
    expected = gaussian.kl(outputs["posterior"], model.prior(model.embed(jnp.asarray(Y)))).mean()
    np.testing.assert_allclose(losses["kl"], expected, rtol=1e-5)


def test_a_class_out_of_range_is_no_other_class():
    model = build(conditional_vae)
    c = np.asarray(model.embed(jnp.asarray([0, 1, 2, -1])))
    assert np.isfinite(c[:2]).all()
    assert np.isnan(c[2:]).all()


def test_condition_missing_is_named():
    model = build(conditional_vae, drop_condition=0.0)
    with pytest.raises(ValueError, match="expected a condition y, got none"):
        model.generate(2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"expected a batch with 'y', got \['x'\]"):
        Trainer(model, TrainerConfig(steps=1, batch_size=16)).fit({"x": np.asarray(X)})
    with pytest.raises(ValueError, match="got 10"):
        model.check_data(DataSpec(shape=(4, 4, 1), n_classes=10))
    with pytest.raises(ValueError, match="one of 'n_classes' and 'condition_width'"):
        ConditionalVAEConfig(n_classes=3, condition_width=2)


def test_vq_loss_and_its_code_frequencies():
    model = build(vq_vae)
    outputs = model(X, rngs=nnx.Rngs(0))
    losses = model.loss_fn({"x": X}, outputs)
    np.testing.assert_allclose(losses["loss"], losses["reconstruction"] + 0.25 * losses["commitment"], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(model.frequencies[...]).sum(-1), 1, rtol=1e-5)
    codes = np.asarray(outputs["codes"])
    seen = np.stack([(codes == k).mean(0) for k in range(8)], -1)
    np.testing.assert_allclose(model.frequencies[...], 0.99 / 8 + 0.01 * seen, atol=1e-6)


def test_vq_decodes_given_codes():
    model = build(vq_vae)
    model.eval()
    codes = model.encode(jnp.asarray(X))
    given = model.generate(16, codes=codes, mean=True, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(given, model.decode(codes), atol=1e-6)


@pytest.mark.parametrize(
    "make", [lambda: ConvDecoderConfig(output_dim=(30, 30, 1)), lambda: VQVAEConfig(output_dim=(30, 30, 1))]
)
def test_sides_that_cannot_be_reached_name_the_nearest(make):
    with pytest.raises(ValueError, match=r"nearest sides are \(28, 28\) and \(32, 32\)"):
        make()


@pytest.mark.parametrize("config", [BetaVAEConfig, ConditionalVAEConfig, VQVAEConfig, HierarchicalVAEConfig])
def test_default_configs_survive_a_round_trip(config):
    assert config.from_dict(config().to_dict()) == config()
