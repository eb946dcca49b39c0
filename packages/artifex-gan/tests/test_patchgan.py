"""Patch critics: what a logit sees, how many there are, and the pyramid; losses of eq. 2 and 3."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.training.objective import StepContext
from artifex.gan.examples import patchgan
from artifex.gan.patchgan import PatchCritic, PatchGAN, critic_loss, generator_loss, shrink


def linear_features(critic, x):
    """The critic without norm and rectifier, whose gradient shows all that a logit can see."""
    for layer in critic.layers:
        x = layer(x)
    return x[..., 0]


def test_a_logit_sees_seventy_by_seventy_pixels():
    critic = PatchCritic(1, 1, rngs=nnx.Rngs(0))
    for layer in critic.layers:
        layer.kernel[...] = jnp.ones_like(layer.kernel[...])
    seen = jax.grad(lambda x: linear_features(critic, x)[0, 8, 8])(jnp.zeros((1, 140, 140, 1)))[0, ..., 0]
    rows, columns = np.nonzero(np.asarray(seen))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (70, 70)


def test_pictures_of_256_pixels_get_thirty_by_thirty_logits():
    critic = PatchCritic(3, 2, rngs=nnx.Rngs(0))
    assert jax.eval_shape(critic, jnp.zeros((2, 256, 256, 3))).shape == (2, 30, 30)


def test_the_critic_has_the_papers_parameters():
    net = nnx.eval_shape(lambda: PatchCritic(3, 64, rngs=nnx.Rngs(0)))
    count = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(nnx.state(net, nnx.Param)))
    # The authors print 2.765 million, with the offsets before each norm that ours leaves out.
    assert count + (128 + 256 + 512) == 2_764_737


def test_sides_are_read_channels_last():
    critic = PatchCritic(3, 2, rngs=nnx.Rngs(0))
    assert jax.eval_shape(critic, jnp.zeros((1, 64, 32, 3))).shape == (1, 6, 2)


@pytest.mark.parametrize("sides", [(8, 8), (7, 10)])
def test_the_pyramid_is_that_of_torch(sides):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, *sides, 3)).astype(np.float32)
    pool = torch.nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
    expected = pool(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(shrink(jnp.asarray(x)), expected, atol=1e-6)


@pytest.fixture(scope="module")
def played():
    config, batch = patchgan()
    model = PatchGAN(config.replace(patch_layers=0, feature_weight=10.0), rngs=nnx.Rngs(0))
    batch = jax.tree.map(jnp.asarray, batch)
    return model, batch, model(batch["x"], y=batch["y"])


def test_losses_equal_their_formulas(played):
    model, batch, outputs = played
    real, fake = outputs["real_features"], outputs["fake_features"]
    critic = sum(0.5 * ((r[-1] - 1) ** 2).mean() + 0.5 * (f[-1] ** 2).mean() for r, f in zip(real, fake, strict=True))
    fooled = sum(((f[-1] - 1) ** 2).mean() for f in fake)
    distances = [jnp.abs(r - f).mean() for rs, fs in zip(real, fake, strict=True) for r, f in zip(rs, fs, strict=True)]
    inner = [d for i, d in enumerate(distances) if (i + 1) % len(real[0])]  # without the logits
    ctx = StepContext(jnp.zeros((), jnp.int32), 1, nnx.Rngs(0))
    np.testing.assert_allclose(critic_loss(model, batch, ctx)["loss"], critic, rtol=1e-5)
    terms = generator_loss(model, batch, ctx)
    np.testing.assert_allclose(terms["features"], 10 * 4 / (1 * 2) * sum(inner), rtol=1e-5)
    np.testing.assert_allclose(terms["loss"], fooled + terms["features"], rtol=1e-5)


def test_loss_fn_equals_the_objectives(played):
    model, batch, outputs = played
    ctx = StepContext(jnp.zeros((), jnp.int32), 1, nnx.Rngs(0))
    losses = model.loss_fn(batch, outputs)
    np.testing.assert_allclose(losses["critic"], critic_loss(model, batch, ctx)["loss"], rtol=1e-6)
    np.testing.assert_allclose(losses["loss"], generator_loss(model, batch, ctx)["loss"], rtol=1e-6)


def test_a_translator_without_sources_is_refused(played):
    model, _, _ = played
    with pytest.raises(ValueError, match="expected source pictures y, got none"):
        model.generate(2)
    with pytest.raises(ValueError, match=r"expected 1 or 3 source pictures y .* shape \(2, 8, 8, 1\)"):
        model.generate(3, y=jnp.zeros((2, 8, 8, 1)))


def test_one_source_stands_for_all_samples(played):
    model, batch, _ = played
    x = model.sample(3, rngs=nnx.Rngs(0), y=np.asarray(batch["y"][:1]))
    np.testing.assert_allclose(x[2], model.translate(batch["y"][:1])[0], atol=1e-5)
