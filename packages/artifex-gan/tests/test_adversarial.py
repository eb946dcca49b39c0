"""The two objectives: who moves what, what each sees, and that both ways to compute the losses agree."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.data.spec import DataSpec
from artifex.core.leaves import flatten, merge, select
from artifex.core.registry import create_model, list_models, load_target
from artifex.core.training.config import ObjectiveOptimizer, OptimizerConfig, TrainerConfig
from artifex.core.training.objective import StepContext, training_spec
from artifex.core.training.step import strided
from artifex.core.training.trainer import Trainer
from artifex.gan.adversarial import adversarial, decay_for, from_unit, to_unit
from artifex.gan.dcgan import DCGAN, DCGANConfig
from artifex.gan.examples import PERCEPTRONS, bars, pictures
from artifex.gan.networks import ConvNetworks, MLPNetworks
from artifex.gan.r3gan import R3GAN, R3GANConfig
from artifex.gan.wgan_gp import WGANGP, WGANGPConfig

TINY = MLPNetworks(hidden_dims=(8,))
OURS = [m.record for m in list_models() if m.distribution == "artifex-gan" and not m.name.startswith("stylegan3")]


def context(seed=0, step=0):
    return StepContext(jnp.asarray(step), 10, nnx.Rngs(seed))


def built(record):
    config, batch = load_target(record.example)()
    return load_target(record.model)(config, rngs=nnx.Rngs(0)), jax.tree.map(jnp.asarray, batch)


def perceptrons(kind, config, **fields):
    return kind(config(shape=(8, 8, 1), z_dim=3, networks=TINY, **fields), rngs=nnx.Rngs(0))


@pytest.mark.parametrize("record", OURS, ids=lambda record: record.name)
def test_each_parameter_is_on_one_side(record):
    model, _ = built(record)
    critic, generator = (select(model, objective.wrt) for objective in training_spec(model).objectives)
    assert critic | generator == select(model, nnx.Param)
    assert critic & generator == frozenset()
    assert select(model, training_spec(model).ema) == generator


def slopes(model, objective, batch):
    """The gradient of an objective's loss in every parameter."""
    layout, arrays = flatten(model)
    params = {path: arrays[path] for path in select(model, nnx.Param)}
    rest = {path: array for path, array in arrays.items() if path not in params}

    def loss(params):
        return objective.loss(merge(layout, {**params, **rest}), batch, context())["loss"]

    return jax.jit(jax.grad(loss))(params)


@pytest.mark.parametrize("model", [perceptrons(WGANGP, WGANGPConfig), perceptrons(R3GAN, R3GANConfig)])
def test_the_critics_loss_has_no_gradient_in_the_generator(model):
    critic, generator = training_spec(model).objectives
    batch = jax.tree.map(jnp.asarray, pictures())
    found = slopes(model, critic, batch)
    assert all(not np.any(found[path]) for path in select(model, generator.wrt))
    assert all(np.any(found[path]) for path in select(model, critic.wrt))


def test_training_one_side_leaves_the_other():
    model = perceptrons(DCGAN, DCGANConfig)
    still = OptimizerConfig(learning_rate=0.0)
    for moved, side in (("critic", "discriminator"), ("generator", "generator")):
        fast = ObjectiveOptimizer(objective=moved, name="sgd", learning_rate=1.0)
        trainer = Trainer(model, TrainerConfig(steps=1, batch_size=16, optimizer=still, optimizers=(fast,)))
        before = {path: np.asarray(x) for path, x in trainer.state.params.items()}
        trainer.fit(pictures())
        changed = {path for path, x in trainer.state.params.items() if not np.array_equal(before[path], x)}
        assert {path.split("/")[0] for path in changed} == {side}


@pytest.mark.parametrize("kind", [WGANGP, R3GAN])
def test_loss_fn_equals_the_objectives_on_equal_streams(kind):
    one_step = {WGANGP: (WGANGPConfig, {"critic_steps": 1}), R3GAN: (R3GANConfig, {})}
    config, fields = one_step[kind]
    model = perceptrons(kind, config, **fields)
    critic, generator = training_spec(model).objectives
    batch = {"x": jnp.asarray(pictures()["x"])}
    outputs = model(batch["x"], rngs=nnx.Rngs(3))
    losses = model.loss_fn(batch, outputs, ctx=context(3))
    np.testing.assert_allclose(losses["critic"], critic.loss(model, batch, context(3))["loss"], rtol=1e-5)
    np.testing.assert_allclose(losses["loss"], generator.loss(model, batch, context(3))["loss"], rtol=1e-5)
    penalties = {penalty.name for penalty in model.game(context()).penalties}
    assert penalties <= losses.keys()


def test_critic_steps_see_disjoint_parts_and_the_generator_as_many_rows():
    parts = strided({"x": jnp.arange(20)}, 5)["x"]
    assert sorted(np.asarray(parts).ravel().tolist()) == list(range(20))
    model = perceptrons(WGANGP, WGANGPConfig)
    _, generator = training_spec(model).objectives
    batch = jax.tree.map(jnp.asarray, pictures(20))
    assert float(generator.loss(model, batch, context())["weight"]) == 4


def test_critic_steps_that_do_not_divide_the_batch_are_refused():
    model = perceptrons(WGANGP, WGANGPConfig, critic_steps=3)
    with pytest.raises(ValueError, match="divides into 3 equal parts, got 16 rows"):
        Trainer(model, TrainerConfig(steps=1, batch_size=16)).fit(pictures())


def test_a_side_cannot_be_both():
    with pytest.raises(ValueError, match=r"one side, got \['generator'\] on both"):
        adversarial(perceptrons(DCGAN, DCGANConfig), sides=(("generator",), ("generator",)))


def test_data_of_any_range_are_seen_within_one():
    x = jnp.asarray([0.0, 0.25, 1.0])
    np.testing.assert_allclose(to_unit(x, (0.0, 1.0)), [-1.0, -0.5, 1.0])
    np.testing.assert_allclose(from_unit(to_unit(x, (-2.0, 6.0)), (-2.0, 6.0)), x, atol=1e-6)
    np.testing.assert_array_equal(to_unit(x, None), x)


def test_samples_lie_in_the_range_of_the_data():
    x = np.asarray(perceptrons(DCGAN, DCGANConfig, range=(0.0, 1.0)).sample(64, rngs=nnx.Rngs(0)))
    assert x.min() >= 0
    assert x.max() <= 1


def test_the_average_is_the_generators():
    trainer = Trainer(perceptrons(DCGAN, DCGANConfig), TrainerConfig(steps=2, batch_size=16, ema_decay=0.9))
    assert {path.split("/")[0] for path in trainer.state.ema} == {"generator"}


def test_half_of_an_average_is_forgotten_after_as_many_images_whatever_the_batch():
    np.testing.assert_allclose([decay_for(1000, 10) ** 100, decay_for(1000, 250) ** 4], 0.5)
    with pytest.raises(ValueError, match="expected 'half_life' > 0 images, got 0"):
        decay_for(0, 10)


BATCH_NORM = {"networks": {"type": "conv", "critic_norm": "batch"}}
REFUSED = {
    "side": (
        "dcgan",
        {"shape": (9, 9, 1)},
        "halve equally often, down to 4, 5, 6 or 7, got .9, 9, 1.. The nearest squares have sides 8 and 10",
    ),
    "wide": ("dcgan", {"shape": (64, 8, 1)}, "halve equally often, down to 4, 5, 6 or 7, got"),
    "stages": (
        "r3gan",
        {"shape": (30, 32, 3)},
        "divide by 8 for 4 stages, got .*sides are 24 and 32",
    ),
    "groups": ("r3gan", {"networks": {"type": "residual", "widths": (12,), "expansion": 1}}, "got widths .12."),
    "weight": ("wgan_gp", {"weight": -1.0}, "expected 'weight' >= 0, got -1.0"),
    "gamma": ("r3gan", {"gamma": (-1.0, 0.0)}, "expected 'gamma' >= 0, got -1.0"),
    "norm": ("wgan_gp", BATCH_NORM, "rows do not look at each other, got networks.critic_norm 'batch'"),
    "augment": ("r3gan", {"augment": 1.5}, "expected 'augment' from 0 to 1, .* got 1.5"),
    "clip": ("wgan", {"clip": 0.0}, "expected 'clip' > 0, got 0.0"),
    "translator side": ("cyclegan", {"shape": (30, 32, 3)}, "divide by 4, got"),
    "u-net side": ("pix2pix", {"shape": (96, 96, 3)}, "divide by 128, got"),
    "scales": ("patchgan", {"shape": (32, 32, 3), "scales": 3}, "3 or more places, got"),
    "identity": ("cyclegan", {"identity": -0.5}, "expected 'identity' >= 0, got -0.5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_config_is_refused(case):
    name, fields, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        create_model(name, rngs=nnx.Rngs(0), **fields)


def test_data_of_another_range_or_shape_are_refused():
    model = perceptrons(DCGAN, DCGANConfig)
    with pytest.raises(ValueError, match=r"expected data in \[-1.0, 1.0\], got \[0.0, 255.0\]. Set model.range"):
        model.check_data(DataSpec(shape=(8, 8, 1), low=0.0, high=255.0))
    with pytest.raises(ValueError, match=r"expected data of shape \(8, 8, 1\), got \(1, 8, 8\)"):
        model.check_data(DataSpec(shape=(1, 8, 8), low=-1.0, high=1.0))


def test_a_condition_given_to_an_unconditional_model_is_refused():
    with pytest.raises(ValueError, match="expected no condition y, got one of shape"):
        perceptrons(DCGAN, DCGANConfig).sample(2, rngs=nnx.Rngs(0), y=np.array([1, 2]))


def test_latents_are_one_a_sample():
    model = perceptrons(DCGAN, DCGANConfig)
    z = jnp.ones((2, 3))
    np.testing.assert_array_equal(model.generate(2, z=z), model.generate(2, z=z))
    with pytest.raises(ValueError, match="expected 4 rows of z, got 2"):
        model.generate(4, z=z)


def test_lsgan_generates():
    model = create_model("lsgan", rngs=nnx.Rngs(0), shape=(8, 8, 1), networks=PERCEPTRONS)
    assert float(jnp.std(model.sample(8, rngs=nnx.Rngs(0)))) > 0


def test_wgan_weights_stay_clipped_from_the_first_gradient_on():
    model = create_model("wgan", rngs=nnx.Rngs(0), shape=(8, 8, 1), z_dim=3, networks=ConvNetworks(width=4))
    trainer = Trainer(model, TrainerConfig(steps=3, batch_size=20, optimizer=OptimizerConfig(learning_rate=0.1)))

    def bounds():
        sides = {"discriminator": 0.0, "generator": 0.0}
        for path, x in trainer.state.params.items():
            sides[path.split("/")[0]] = max(sides[path.split("/")[0]], float(np.abs(x).max()))
        return sides

    assert bounds()["discriminator"] <= 0.01
    trainer.fit(pictures(20))
    assert math.isclose(bounds()["discriminator"], 0.01, rel_tol=1e-6)
    assert bounds()["generator"] > 0.1


def test_gamma_falls_by_a_cosine():
    model = perceptrons(R3GAN, R3GANConfig, gamma=(1.0, 0.1))
    batch = {"x": jnp.asarray(bars()["x"])}
    outputs = model(batch["x"], rngs=nnx.Rngs(0))
    found = [float(model.loss_fn(batch, outputs, ctx=context(0, step))["r1"]) for step in (0, 5, 10)]
    np.testing.assert_allclose(np.array(found) / found[0], [1.0, 0.55, 0.1], rtol=1e-4)


def loss_at(model, batch, step):
    return training_spec(model).objectives[0].loss(model, batch, context(0, step))["loss"]


def test_augmentation_rises_from_nothing():
    plain, changed = (perceptrons(R3GAN, R3GANConfig, gamma=(1.0, 1.0), augment=p) for p in (0.0, 1.0))
    batch = {"x": jnp.asarray(bars()["x"])}
    critic = [jax.jit(functools.partial(loss_at, model, batch)) for model in (plain, changed)]
    np.testing.assert_allclose(critic[1](0), critic[0](0), rtol=1e-6)  # two programs: one rounding apart
    assert abs(float(critic[1](10) - critic[0](10))) > 1e-3
