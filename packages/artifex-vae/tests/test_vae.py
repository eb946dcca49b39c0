"""The VAE against its closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core import create_model
from artifex.core.data.spec import DataSpec
from artifex.core.prob.noise import RowRngs
from artifex.vae import VAE, DecoderConfig, EncoderConfig, VAEConfig
from artifex.vae.bound import iwae_log_prob
from artifex.vae.likelihood import GaussianLikelihood

WIDTH, LATENT, STD = 5, 2, 0.7
DRAWS = 4000


def linear_vae(seed: int = 0, **changes) -> VAE:
    """A VAE whose encoder and decoder are affine, so that everything has a closed form."""
    config = VAEConfig(
        encoder=EncoderConfig(hidden_dims=()),
        decoder=DecoderConfig(hidden_dims=(), output_dim=(WIDTH,)),
        latent_dim=LATENT,
        likelihood=GaussianLikelihood(std=STD),
        **changes,
    )
    model = VAE(config, rngs=nnx.Rngs(seed))
    rng = np.random.default_rng(0)
    decoder, encoder = model.coder.decoder.mlp.layers[0], model.coder.encoder.mlp.layers[0]
    w, b = rng.standard_normal((LATENT, WIDTH)), rng.standard_normal(WIDTH)
    cov = np.linalg.inv(w @ w.T / STD**2 + np.eye(LATENT))
    to_mean = w.T / STD**2 @ cov
    # q has the exact mean and a deviation that is too large, so that the bounds stay apart from the evidence.
    log_std = 0.5 * np.log(np.diag(cov)) + 0.3
    decoder.kernel.set_value(jnp.asarray(w, decoder.kernel.dtype))
    decoder.bias.set_value(jnp.asarray(b, decoder.bias.dtype))
    encoder.kernel.set_value(jnp.asarray(np.concatenate([to_mean, 0 * to_mean], 1), encoder.kernel.dtype))
    encoder.bias.set_value(jnp.asarray(np.concatenate([-b @ to_mean, log_std]), encoder.bias.dtype))
    model.eval()
    return model


def evidence(model: VAE, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log p(x), and mean and covariance of p(z|x), in float64."""
    layer = model.coder.decoder.mlp.layers[0]
    w, b = np.asarray(layer.kernel[...], float), np.asarray(layer.bias[...], float)
    cov = w.T @ w + STD**2 * np.eye(WIDTH)
    gap = np.asarray(x, float) - b
    log_p = -0.5 * (np.einsum("bi,ij,bj->b", gap, np.linalg.inv(cov), gap) + np.linalg.slogdet(2 * np.pi * cov)[1])
    posterior = np.linalg.inv(w @ w.T / STD**2 + np.eye(LATENT))
    return log_p, gap @ w.T / STD**2 @ posterior, posterior


@pytest.fixture(scope="module")
def x() -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).standard_normal((3, WIDTH)), jnp.float32)


@pytest.fixture(scope="module")
def model() -> VAE:
    return linear_vae()


def closed_form_elbo(model: VAE, x: np.ndarray) -> np.ndarray:
    """log p(x) − KL(q ‖ p(z|x))."""
    log_p, mean, cov = evidence(model, x)
    q = model.posterior(x)
    m, s = np.asarray(q.mean, float), np.exp(np.asarray(q.log_std, float))
    inverse = np.linalg.inv(cov)
    gap = m - mean
    kl = 0.5 * (
        np.einsum("bi,ii->b", s**2, inverse)
        + np.einsum("bi,ij,bj->b", gap, inverse, gap)
        - LATENT
        + np.linalg.slogdet(cov)[1]
        - 2 * np.log(s).sum(1)
    )
    return log_p - kl


@pytest.fixture(scope="module")
def log_weights(model, x) -> np.ndarray:
    """log w of many draws, [draw, row]."""
    draw = jax.jit(jax.vmap(lambda key: model.log_weight(x, rngs=RowRngs(key))))
    return np.asarray(draw(jax.random.split(jax.random.key(0), DRAWS)), float)


def test_mean_log_weight_is_the_closed_form_elbo(model, x, log_weights):
    error = log_weights.std(0) / np.sqrt(DRAWS)
    assert np.all(np.abs(log_weights.mean(0) - closed_form_elbo(model, x)) < 4 * error)


def test_loss_is_minus_the_elbo(model, x):
    losses = jax.jit(jax.vmap(lambda key: model.loss_fn({"x": x}, model(x, rngs=nnx.Rngs(key)))["loss"]))(
        jax.random.split(jax.random.key(1), DRAWS)
    )
    error = float(losses.std()) / np.sqrt(DRAWS)
    assert abs(float(losses.mean()) + closed_form_elbo(model, x).mean()) < 4 * error


def test_iwae_bound_rises_to_the_evidence(model, x, log_weights):
    log_p = evidence(model, x)[0].mean()
    bounds = []
    for k in (1, 5, 50, 500):
        groups = log_weights[: DRAWS // k * k].reshape(-1, k, 3)
        values = (np.logaddexp.reduce(groups, axis=1) - np.log(k)).mean(1)
        bounds.append(values.mean())
        assert values.mean() <= log_p + 4 * values.std() / np.sqrt(len(values)) + 1e-6
    assert bounds == sorted(bounds)
    assert abs(bounds[-1] - log_p) < 0.02


def test_iwae_log_prob_reaches_the_evidence(model, x):
    found = jax.jit(lambda key: iwae_log_prob(model, x, k=5000, chunk=500, rngs=nnx.Rngs(key)))(jax.random.key(2))
    np.testing.assert_allclose(found, evidence(model, x)[0], atol=0.05)


def test_weights_are_constant_at_the_exact_posterior():
    with jax.enable_x64(True):
        model = linear_vae(dtype="float64")
        x = jnp.asarray(np.random.default_rng(1).standard_normal((1, WIDTH)))
        layer = model.coder.decoder.mlp.layers[0]
        # Orthogonal rows make p(z|x) a product, as q is.
        w = np.linalg.qr(np.random.default_rng(2).standard_normal((WIDTH, LATENT)))[0].T * np.array([[2.0], [0.5]])
        layer.kernel.set_value(jnp.asarray(w))
        log_p, mean, cov = evidence(model, x)
        encoder = model.coder.encoder.mlp.layers[0]
        encoder.kernel.set_value(jnp.zeros_like(encoder.kernel[...]))
        encoder.bias.set_value(jnp.concatenate([jnp.asarray(mean[0]), 0.5 * jnp.log(jnp.diag(cov))]))
        values = [float(model.log_weight(x, rngs=nnx.Rngs(i))[0]) for i in range(20)]
        assert np.ptp(values) < 1e-10
        assert abs(values[0] - log_p[0]) < 1e-10


def test_elbo_of_every_binary_picture_is_below_its_quadrature_and_they_sum_to_one():
    config = VAEConfig(
        encoder=EncoderConfig(hidden_dims=(4,)), decoder=DecoderConfig(hidden_dims=(4,), output_dim=(4,)), latent_dim=1
    )
    model = VAE(config, rngs=nnx.Rngs(0))
    x = np.array([[i >> j & 1 for j in range(4)] for i in range(16)], np.float32)
    x = jnp.asarray(x)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    params = model.coder.decoder(jnp.asarray(nodes[:, None], jnp.float32))
    log_px = np.stack([model.config.likelihood.log_prob(params, jnp.tile(row, (80, 1))) for row in x])
    log_p = np.log((np.exp(log_px.astype(float)) * weights).sum(1) / weights.sum())
    assert abs(np.exp(log_p).sum() - 1) < 1e-6
    elbo = jax.vmap(lambda key: model.log_weight(x, rngs=nnx.Rngs(key)))(jax.random.split(jax.random.key(0), 2000))
    assert np.all(elbo.mean(0) < log_p + 4 * elbo.std(0) / np.sqrt(2000))


def test_warm_up_scales_the_kl(model, x):
    warm = linear_vae(warmup_steps=10)
    outputs = warm(x, rngs=nnx.Rngs(0))
    full = warm.loss_fn({"x": x}, outputs)
    for step, share in ((0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)):
        losses = warm.loss_fn({"x": x}, outputs, step=jnp.asarray(step))
        np.testing.assert_allclose(losses["loss"], full["reconstruction"] + share * full["kl"], rtol=1e-6)


def test_free_bits_charge_a_floor_for_each_dimension(x):
    model = linear_vae(free_bits=100.0)
    losses = model.loss_fn({"x": x}, model(x, rngs=nnx.Rngs(0)))
    # Below the floor the KL term has no gradient, and its value stays that of the plain KL.
    grad = jax.grad(lambda b: _kl_with_bias(model, x, b))(model.coder.encoder.mlp.layers[0].bias[...])
    np.testing.assert_array_equal(grad, np.zeros(2 * LATENT))
    assert float(losses["kl"]) < 200


def _kl_with_bias(model: VAE, x: np.ndarray, bias: jax.Array) -> jax.Array:
    from artifex.core.prob.gaussian import Gaussian
    from artifex.vae.bound import free_bits

    layer = model.coder.encoder.mlp.layers[0]
    q = Gaussian(*jnp.split(x @ layer.kernel[...] + bias, 2, axis=-1))
    return free_bits(model.prior.kl_entries(q, q.mean), model.config.free_bits).mean()


def test_a_wrong_sign_of_the_kl_is_another_loss(model, x):
    outputs = model(x, rngs=nnx.Rngs(0))
    losses = model.loss_fn({"x": x}, outputs)
    np.testing.assert_allclose(losses["loss"], losses["reconstruction"] + losses["kl"], rtol=1e-6)
    assert float(losses["kl"]) > 0


def test_the_first_example_of_the_paper_runs_as_printed():
    config = VAEConfig(
        encoder=EncoderConfig(hidden_dims=[32, 64], latent_dim=16),
        decoder=DecoderConfig(hidden_dims=[64, 32], output_dim=(28, 28, 1)),
        latent_dim=16,
    )
    model = VAE(config, rngs=nnx.Rngs(params=jax.random.key(0)))
    outputs = model(jnp.zeros((4, 28, 28, 1)))
    assert outputs["reconstruction"].shape == (4, 28, 28, 1, 1)
    assert model.sample(n_samples=4).shape == (4, 28, 28, 1)
    assert config.encoder.hidden_dims == (32, 64)


def test_create_model_takes_fields_by_name():
    model = create_model("vae", rngs=nnx.Rngs(0), latent_dim=8)
    assert type(model) is VAE
    assert model.config.latent_dim == 8


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"beta": -1.0}, "expected 'beta' >= 0, got -1.0"),
        ({"free_bits": -0.5}, "expected 'free_bits' >= 0, got -0.5"),
        ({"encoder": EncoderConfig(latent_dim=3), "latent_dim": 4}, "got 3 and 4"),
    ],
)
def test_bad_configs_name_the_value(fields, message):
    with pytest.raises(ValueError, match=message):
        VAEConfig(**fields)


def test_data_of_another_shape_or_range_are_refused():
    model = VAE(VAEConfig(decoder=DecoderConfig(output_dim=(8, 8, 1))), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"expected data of shape \(8, 8, 1\), got \(28, 28, 1\)"):
        model.check_data(DataSpec(shape=(28, 28, 1)))
    with pytest.raises(ValueError, match=r"expected data in \[0.0, 1.0\], got \[-1.0, 1.0\]"):
        model.check_data(DataSpec(shape=(8, 8, 1), low=-1.0, high=1.0))


def test_loss_equals_torch_on_the_same_numbers(x):
    torch = pytest.importorskip("torch")
    model = VAE(
        VAEConfig(
            encoder=EncoderConfig(hidden_dims=(7,)), decoder=DecoderConfig(hidden_dims=(7,), output_dim=(WIDTH,))
        ),
        rngs=nnx.Rngs(0),
    )
    data = (x > 0).astype(jnp.float32)
    outputs = model(data, rngs=nnx.Rngs(1))
    t = {name: torch.tensor(np.asarray(value)) for name, value in outputs.items()}
    nll = torch.nn.functional.binary_cross_entropy_with_logits(
        t["reconstruction"][..., 0], torch.tensor(np.asarray(data)), reduction="none"
    )
    q = torch.distributions.Normal(t["mean"], t["log_std"].exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    expected = (nll.sum(1) + kl.sum(1)).mean()
    np.testing.assert_allclose(model.loss_fn({"x": data}, outputs)["loss"], expected.numpy(), rtol=1e-5)
