"""What the family's models share: their types, their conditions, seeds, programs, and what they refuse."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core import create_model
from artifex.core.data.spec import DataSpec
from artifex.core.leaves import flatten
from artifex.core.registry import load_target, model_record
from artifex.core.testing.events import traced
from artifex.diffusion.ddim import DDIM, DDIMConfig, DDIMInversion
from artifex.diffusion.ddpm import DDPM, DDPMConfig, improved_ddpm
from artifex.diffusion.edm import EDM, EDMConfig
from artifex.diffusion.examples import LABELLED, NETWORK, TEN
from artifex.diffusion.flow_matching import FlowMatching, FlowMatchingConfig
from artifex.diffusion.grid import Trailing
from artifex.diffusion.guided import GuidedDiffusion, GuidedDiffusionConfig
from artifex.diffusion.multistep import DPMSolver
from artifex.diffusion.prediction import Denoiser
from artifex.diffusion.schedule import VE, Discrete, RectifiedFlow, SubVP, VPLinear, zero_terminal_snr
from artifex.diffusion.score_sde import ScoreSDE, ScoreSDEConfig
from artifex.diffusion.solver import DDIMSolver, solve
from artifex.diffusion.weighting import LikelihoodWeight, MinSNRWeight

NAMES = ("ncsn", "ddpm", "ddim", "score_sde", "guided_diffusion", "edm", "flow_matching")
RANGE = (0.0, 1.0)
X = np.linspace(0, 1, 3 * 16, dtype=np.float32).reshape(3, 4, 4, 1)
LABELLED_DDIM = DDIMConfig(network=LABELLED, schedule=TEN, steps=4, label_dropout=0.1, data_range=RANGE)


def disturbed(model, seed=7):
    """The model with all weights moved, so that blocks that begin as the identity take part."""
    rng = np.random.default_rng(seed)
    for _, variable in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        variable.set_value(variable[...] + 0.1 * rng.standard_normal(variable.shape).astype(np.float32))
    model.eval()
    return model


@pytest.mark.parametrize("name", NAMES)
def test_every_name_builds_its_own_model_from_its_own_config(name):
    """A DDIM config once built a DDPM."""
    record = model_record(name)
    config, _ = load_target(record.example)()
    model = create_model(config, rngs=nnx.Rngs(0))
    assert type(config).__name__ == record.config.partition(":")[2]
    assert type(model) is load_target(record.model)
    assert model.config is config


@pytest.mark.parametrize("config", [LABELLED_DDIM, LABELLED_DDIM.replace(label_dropout=0.0)])
def test_the_output_moves_with_the_label(config):
    """A condition that is dropped on the way leaves guidance without effect."""
    model = disturbed(DDIM(config, rngs=nnx.Rngs(0)))
    a, b = (np.asarray(model.sample(3, y=y, rngs=nnx.Rngs(0))) for y in (0, 1))
    assert np.abs(a - b).max() > 1e-4


def test_guidance_of_scale_one_is_plain_and_zero_ignores_the_label():
    model = disturbed(DDIM(LABELLED_DDIM, rngs=nnx.Rngs(0)))
    draw = lambda **options: np.asarray(model.sample(3, rngs=nnx.Rngs(0), **options))  # noqa: E731
    np.testing.assert_allclose(draw(y=1, guidance=1.0), draw(y=1), atol=1e-5)
    np.testing.assert_allclose(draw(y=1, guidance=0.0), draw(), atol=1e-5)
    assert np.abs(draw(y=1, guidance=3.0) - draw(y=1)).max() > 1e-4


def test_another_guidance_scale_traces_nothing():
    model = DDIM(LABELLED_DDIM, rngs=nnx.Rngs(0))
    model.sample(3, y=1, guidance=1.5, rngs=nnx.Rngs(0))
    rngs = nnx.Rngs(1)
    with traced() as events:
        model.sample(3, y=0, guidance=4.0, rngs=rngs)
    assert not events


def test_classifier_guidance_moves_samples_and_trains_both_parts():
    config = GuidedDiffusionConfig(
        network=NETWORK,
        guide="classifier",
        classifier=LABELLED,
        label_dropout=0.0,
        schedule=TEN,
        steps=4,
        data_range=RANGE,
    )
    model = disturbed(GuidedDiffusion(config, rngs=nnx.Rngs(0)))
    y = jnp.array([0, 1, 1])
    losses = model.loss_fn({"x": X}, model(jnp.asarray(X), y=y, rngs=nnx.Rngs(0)))
    np.testing.assert_allclose(losses["loss"], losses["error"] + losses["cross_entropy"], rtol=1e-6)
    a, b = (np.asarray(model.sample(3, y=1, guidance=w, rngs=nnx.Rngs(0))) for w in (0.0, 5.0))
    assert np.abs(a - b).max() > 1e-4
    np.testing.assert_allclose(a, model.sample(3, rngs=nnx.Rngs(0)), atol=1e-6)  # scale 0 is no guidance


def test_sample_i_is_the_same_alone_and_among_sixteen_with_a_stochastic_solver():
    model = disturbed(DDPM(DDPMConfig(network=NETWORK, schedule=TEN, data_range=RANGE), rngs=nnx.Rngs(0)))
    many = np.asarray(model.sample(16, rngs=nnx.Rngs(0)))
    np.testing.assert_allclose(many[:1], model.sample(1, rngs=nnx.Rngs(0)), atol=1e-5)


def test_the_start_can_be_given():
    model = disturbed(FlowMatching(FlowMatchingConfig(network=NETWORK, data_range=None, steps=3), rngs=nnx.Rngs(0)))
    xt = jnp.asarray(np.random.default_rng(0).standard_normal((2, 4, 4, 1)), jnp.float32)
    a = model.generate(2, xt=xt, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(a, model.generate(2, xt=xt, rngs=nnx.Rngs(1)), atol=1e-6)


def test_a_solver_can_be_chosen_by_name():
    model = disturbed(EDM(EDMConfig(network=NETWORK, data_range=None, steps=6), rngs=nnx.Rngs(0)))
    named = model.sample(2, solver="dpm_solver_pp", rngs=nnx.Rngs(0))
    np.testing.assert_allclose(named, model.sample(2, solver=DPMSolver(), rngs=nnx.Rngs(0)), atol=1e-6)
    with pytest.raises(LookupError, match=r"expected a solver among .*got 'huen'.* Did you mean 'heun'"):
        model.generate(2, solver="huen", rngs=nnx.Rngs(0))


def test_config_and_yaml_agree_on_nested_parts():
    config = EDMConfig.from_dict(
        {"network": {"type": "perceptron", "shape": [2]}, "solver": {"type": "unipc", "order": 3}, "grid": "karras"}
    )
    assert config.network.shape == (2,)
    assert config.solver.order == 3
    assert EDMConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("schedule", [VPLinear(), SubVP(), VE()], ids=lambda s: s.tag)
@pytest.mark.parametrize("weight", [MinSNRWeight(), LikelihoodWeight()], ids=lambda w: w.tag)
def test_score_models_take_every_schedule_and_weight(schedule, weight):
    config = ScoreSDEConfig(network=NETWORK, schedule=schedule, weight=weight, data_range=RANGE)
    model = ScoreSDE(config, rngs=nnx.Rngs(0))
    losses = model.loss_fn({"x": X}, model(jnp.asarray(X), rngs=nnx.Rngs(0)))
    assert 0 < float(losses["loss"]) < 1e7


def test_the_improved_preset_is_cosine_with_a_learned_variance():
    config = improved_ddpm(NETWORK, data_range=RANGE)
    assert (config.schedule.rule, config.variance, config.network.out_channels) == ("cosine", "learned", 2)
    model = disturbed(DDPM(improved_ddpm(NETWORK, schedule=TEN, levels=17), rngs=nnx.Rngs(0)))
    outputs = model(jnp.asarray(X), rngs=nnx.Rngs(0))
    simple = model.loss_fn({"x": X}, outputs)["error"]

    def vlb(prediction):
        return (
            model.loss_fn({"x": X}, {**outputs, "prediction": prediction})["loss"]
            - ((prediction - _eps(model, outputs)) ** 2).mean()
        )

    # The mean is held fixed in the bound: its gradient reaches the variance only.
    np.testing.assert_allclose(jax.grad(vlb)(outputs["prediction"]), 0, atol=1e-6)
    assert float(model.loss_fn({"x": X}, outputs)["loss"]) > float(simple)


def _eps(model, outputs):
    alpha, sigma = (
        f(outputs["t"]).reshape(-1, 1, 1, 1) for f in (model.config.schedule.alpha, model.config.schedule.sigma)
    )
    return (outputs["xt"] - alpha * outputs["x0"]) / sigma


def test_clipping_is_asked_for_and_belongs_to_one_model():
    """`clip_x0` of a config changes its samples, and DDIM does not inherit it."""
    plain, clipped = (
        disturbed(DDPM(DDPMConfig(network=NETWORK, schedule=TEN, data_range=None, clip_x0=clip), rngs=nnx.Rngs(0)))
        for clip in (False, True)
    )
    a, b = (np.asarray(model.sample(2, rngs=nnx.Rngs(0))) for model in (plain, clipped))
    assert np.abs(b).max() <= 1 < np.abs(a).max()
    assert "clip_x0" not in {field.name for field in dataclasses.fields(DDIMConfig)}


def test_ddim_inversion_comes_back_to_first_order():
    """A linear network, whose path is smooth: the error of there and back halves with the step."""
    schedule = Discrete(steps=1000)

    def network(xt, c, y=None, *, rngs=None):
        sigma = schedule.sigma((c + 1) / 1000)[:, None]
        return sigma * xt / (0.6 * (1 - sigma**2) + sigma**2)  # exact for N(0, 0.6)

    denoise = Denoiser(network, schedule, "eps")
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 3)), jnp.float32)
    errors = []
    for steps in (50, 100, 200):
        grid = Trailing()(schedule, steps)
        xt = solve(denoise, x, grid, DDIMInversion())
        errors.append(float(np.abs(solve(denoise, xt, grid, DDIMSolver()) - x).max()))
    assert errors[2] < 0.03
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 1, atol=0.3)


def test_invert_undoes_generate():
    config = DDIMConfig(network=NETWORK, schedule=Discrete(steps=100), steps=100, data_range=None)
    model = DDIM(config, rngs=nnx.Rngs(0))
    x = jnp.asarray(X)
    xt = model.invert(x)
    # An untrained network is smooth; only the step's first-order error is left.
    np.testing.assert_allclose(model.generate(3, xt=xt, rngs=nnx.Rngs(0)), x, atol=0.05)


def test_memory_and_programs_do_not_grow_with_the_steps():
    """Compiled temporary memory at 10 and 100 steps is equal: coefficients are arguments of one scan."""
    model = EDM(EDMConfig(network=NETWORK, data_range=None), rngs=nnx.Rngs(0))
    layout, arrays = flatten(model)
    sizes = []
    for steps in (10, 100):

        def run(arrays, key, steps=steps):
            return nnx.merge(layout.graphdef, jax.tree.unflatten(layout.treedef, list(arrays.values()))).generate(
                4, steps=steps, rngs=nnx.Rngs(key)
            )

        compiled = jax.jit(run).lower(arrays, jax.random.key(0)).compile()
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    assert sizes[1] <= 1.1 * sizes[0] + 16_384


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DDPMConfig(network=NETWORK, variance="learned"), "with 2 output channels .*got 1. Set network.out_c"),
        (lambda: DDPMConfig(network=NETWORK, schedule=zero_terminal_snr(Discrete())), "signal ends at 0. Predict 'v'"),
        (lambda: DDPMConfig(network=NETWORK, prediction="epsilon"), "epsilon"),
        (lambda: DDIMConfig(eta=2.0), r"expected 'eta' in \[0, 1\], got 2.0"),
        (lambda: DDIMConfig(network=NETWORK, label_dropout=0.1), "'label_dropout' 0 without classes, got 0.1"),
        (lambda: EDMConfig(sigma_data=0.0), "expected 'sigma_data' > 0, got 0.0"),
        (lambda: EDMConfig(data_range=(1.0, 1.0)), r"'data_range' as \(low, high\), got \(1.0, 1.0\)"),
        (lambda: GuidedDiffusionConfig(network=NETWORK, label_dropout=0.0), "n_classes = None"),
        (lambda: EDMConfig.from_dict({"solver": {"type": "huen"}}), "Did you mean 'heun'"),
        (lambda: EDMConfig.from_dict({"grid": "karas"}), "Did you mean 'karras'"),
        (lambda: FlowMatchingConfig.from_dict({"schedule": {"shift": 0}}), "expected 'shift' > 0"),
    ],
)
def test_bad_configs_name_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"y": 5}, r"expected 'y' in 0 … 1, got 5 … 5"),
        ({"y": jnp.array([0, 1, 1])}, "expected one 'y' a sample, so 2, got 3"),
        ({"guidance": 2.0}, "expected 'y' beside 'guidance', got none"),
        ({"steps": 11}, "at most 10, the steps of the schedule, got 11"),
    ],
)
def test_bad_options_of_generate_name_the_value(options, message):
    model = DDIM(LABELLED_DDIM, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=message):
        model.generate(2, rngs=nnx.Rngs(0), **options)


def test_guidance_needs_a_model_that_knows_no_class():
    never = DDIM(LABELLED_DDIM.replace(label_dropout=0.0), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="trained with label_dropout > 0 for 'guidance', got 0"):
        never.generate(2, y=1, guidance=2.0, rngs=nnx.Rngs(0))
    without = DDIM(DDIMConfig(network=NETWORK, schedule=TEN, steps=2), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"expected no 'y', got one\. Set model\.network"):
        without.generate(2, y=1, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec(shape=(8, 8, 1)), r"expected data of shape \(4, 4, 1\), got \(8, 8, 1\)"),
        (DataSpec(shape=(4, 4, 1), dtype="uint8", low=0.0, high=255.0), "expected data of floats, got uint8"),
        (
            DataSpec(shape=(4, 4, 1), low=0.0, high=255.0, kind="image"),
            r"expected data in \[0.0, 1.0\], got \[0.0, 255.0\]",
        ),
        (DataSpec(shape=(4, 4, 1), low=0.0, high=1.0, n_classes=10), "expected labels of 2 classes, got 10"),
    ],
)
def test_data_that_do_not_fit_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        DDIM(LABELLED_DDIM, rngs=nnx.Rngs(0)).check_data(spec)


def test_a_path_larger_than_memory_names_its_size():
    grid = Trailing()(VPLinear(), 50)
    with pytest.raises(ValueError, match=r"'all' within 4 GiB, got 204\.0 GiB for 50 rows"):
        jax.eval_shape(
            lambda x: solve(lambda x, t: x, x, grid, DDIMSolver(), keep="all"),
            jax.ShapeDtypeStruct((1024, 1024, 1024), jnp.float32),
        )


def test_flow_shift_is_in_the_schedule_once():
    """The same network asked at the same s: a shift moves the places, not the velocity."""
    plain, shifted = RectifiedFlow(), RectifiedFlow(shift=3.0)
    x0, eps = jnp.ones((2, 3)), jnp.full((2, 3), -0.5)
    for schedule in (plain, shifted):
        alpha, sigma = schedule.alpha(0.3), schedule.sigma(0.3)
        denoiser = Denoiser(lambda xt, c, y=None: eps - x0, schedule, "velocity")
        np.testing.assert_allclose(denoiser(alpha * x0 + sigma * eps, 0.3), x0, atol=1e-6)
