"""pix2pix and CycleGAN: their losses term by term, their noise, their cycles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.data.spec import DataSpec
from artifex.core.training.objective import StepContext
from artifex.gan import cyclegan, examples
from artifex.gan.adversarial import generator_loss
from artifex.gan.cyclegan import CycleGAN
from artifex.gan.pix2pix import Pix2Pix
from artifex.gan.translators import ResnetTranslator, instance_norm, reflect


def context(seed=0):
    return StepContext(jnp.zeros((), jnp.int32), 1, nnx.Rngs(seed))


@pytest.fixture(scope="module")
def pairs():
    config, batch = examples.pix2pix()
    return Pix2Pix(config, rngs=nnx.Rngs(0)), jax.tree.map(jnp.asarray, batch)


@pytest.fixture(scope="module")
def cycle():
    config, batch = examples.cyclegan()
    return CycleGAN(config, rngs=nnx.Rngs(0)), jax.tree.map(jnp.asarray, batch)


def test_instance_norm_equals_that_of_torch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 3)).astype(np.float32)
    expected = torch.nn.InstanceNorm2d(3)(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(instance_norm(jnp.asarray(x)), expected.numpy(), atol=1e-5)


def test_reflection_equals_that_of_torch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((1, 5, 6, 2)).astype(np.float32)
    expected = torch.nn.ReflectionPad2d(3)(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    np.testing.assert_array_equal(reflect(jnp.asarray(x), 3), expected.numpy())


def test_the_resnet_of_cyclegan_has_the_papers_parameters():
    net = nnx.eval_shape(lambda: ResnetTranslator((3, 3), 64, (2, 9), rngs=nnx.Rngs(0)))
    count = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(nnx.state(net, nnx.Param)))
    # The authors print 11.378 million, with the offsets before each norm that ours leaves out.
    assert count + (64 + 128 + 256 + 18 * 256 + 128 + 64) == 11_378_179


def test_pix2pix_keeps_its_noise_when_sampling(pairs):
    model, batch = pairs
    x = [np.asarray(model.sample(len(batch["y"]), rngs=nnx.Rngs(seed), y=np.asarray(batch["y"]))) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(x[0], x[1])
    assert np.abs(x[0] - x[2]).max() > 0


def test_without_dropout_pix2pix_has_no_noise():
    config, batch = examples.pix2pix()
    model = Pix2Pix(config.replace(dropout=0.0), rngs=nnx.Rngs(0))
    x = [model.generate(len(batch["y"]), y=jnp.asarray(batch["y"]), rngs=nnx.Rngs(seed)) for seed in (0, 1)]
    np.testing.assert_array_equal(x[0], x[1])


def test_pix2pix_adds_a_hundred_times_the_absolute_difference(pairs):
    model, batch = pairs
    terms = generator_loss(model, batch, context(4))
    outputs = model(batch["x"], y=batch["y"], rngs=nnx.Rngs(4))
    np.testing.assert_allclose(terms["l1"], 100 * jnp.abs(outputs["fake"] - batch["x"]).mean(), rtol=1e-5)
    fooled = jax.nn.softplus(-outputs["logits_fake"]).mean()
    np.testing.assert_allclose(terms["loss"], fooled + terms["l1"], rtol=1e-5)


def test_the_critic_of_pix2pix_sees_source_and_target(pairs):
    model, batch = pairs
    slopes = jax.grad(lambda x, y: model.discriminator(x, y).sum(), (0, 1))(batch["x"], batch["y"])
    assert all(float(jnp.abs(slope).max()) > 0 for slope in slopes)


def test_cyclegan_losses_equal_their_formulas(cycle):
    model, batch = cycle
    x, y = batch["x"], batch["y"]
    out = model(x, y=y)
    distance = lambda a, b: jnp.abs(a - b).mean()  # noqa: E731
    fooled = ((model.critic_x(out["fake_x"]) - 1) ** 2).mean() + ((model.critic_y(out["fake_y"]) - 1) ** 2).mean()
    cycled = 10 * (distance(model.to_x(model.to_y(x)), x) + distance(model.to_y(model.to_x(y)), y))
    same = 5 * (distance(model.to_x(x), x) + distance(model.to_y(y), y))
    terms = cyclegan.generator_loss(model, batch, context())
    np.testing.assert_allclose([terms["cycle"], terms["identity"]], [cycled, same], rtol=1e-4)
    np.testing.assert_allclose(terms["loss"], fooled + cycled + same, rtol=1e-4)


def test_cyclegan_critics_lower_half_of_the_squares(cycle):
    model, batch = cycle
    out = model(batch["x"], y=batch["y"])
    expected = sum(
        0.5 * ((critic(real) - 1) ** 2).mean() + 0.5 * (critic(fake) ** 2).mean()
        for critic, real, fake in (
            (model.critic_x, batch["x"], out["fake_x"]),
            (model.critic_y, batch["y"], out["fake_y"]),
        )
    )
    model.eval()  # the pool gives back the new fakes
    np.testing.assert_allclose(cyclegan.critic_loss(model, batch, context())["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(model.loss_fn(batch, out)["critic"], expected, rtol=1e-5)
    model.train()


def test_critics_see_the_pool_in_training():
    config, batch = examples.cyclegan()
    model = CycleGAN(config, rngs=nnx.Rngs(0))
    batch = jax.tree.map(jnp.asarray, batch)
    cyclegan.critic_loss(model, batch, context(0))
    assert (int(model.pool_x.count[...]), int(model.pool_y.count[...])) == (3, 3)
    stored = np.asarray(model.pool_x.pictures[...])
    fakes = np.asarray(model.to_x(batch["y"]))
    assert all(np.abs(fakes - picture).max((1, 2, 3)).min() < 1e-5 for picture in stored)


def test_both_ways_of_cyclegan_are_open(cycle):
    model, batch = cycle
    there = model.translate(batch["y"])
    back = model.translate_back(there)
    np.testing.assert_allclose(back, model(batch["x"], y=batch["y"])["cycle_y"], atol=1e-5)


def test_domains_of_unequal_shape_are_refused(cycle):
    model, _ = cycle
    spec = DataSpec(shape=(8, 8, 1), low=-1.0, high=1.0, condition_shape=(16, 16, 1))
    with pytest.raises(ValueError, match=r"source pictures y of shape \(8, 8, 1\), got \(16, 16, 1\)"):
        model.check_data(spec)
    with pytest.raises(ValueError, match=r"got None\. Use a data set with pictures under both x and y"):
        model.check_data(DataSpec(shape=(8, 8, 1), low=-1.0, high=1.0, n_classes=10))
