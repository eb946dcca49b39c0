"""DiT as what it says it is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core import create_model
from artifex.core.leaves import flatten, merge
from artifex.diffusion.dit import DiT, DiTConfig
from artifex.diffusion.examples import dit

CONFIG, BATCH = dit()


@pytest.fixture(scope="module")
def model() -> DiT:
    """Every weight drawn, so that nothing is hidden by zeros."""
    model = create_model(CONFIG, rngs=nnx.Rngs(0))
    layout, arrays = flatten(model)
    keys = jax.random.split(jax.random.key(0), len(arrays))
    drawn = {
        path: x + 0.2 * jax.random.normal(key, x.shape) if x.dtype == jnp.float32 else x
        for key, (path, x) in zip(keys, arrays.items(), strict=True)
    }
    return merge(layout, drawn)


def test_the_type_that_is_asked_for_is_built(model):
    assert type(model) is DiT
    assert type(model.diffusion.network).__name__ == "Transformer"


def test_it_predicts_noise_and_variance_in_the_channels_of_the_picture(model):
    outputs = jax.jit(lambda x, y: model(x, y, rngs=nnx.Rngs(0)))(jnp.asarray(BATCH["x"]), jnp.asarray(BATCH["y"]))
    said = model.diffusion.network(outputs["xt"], jnp.round(10 * outputs["t"]) - 1, jnp.asarray(BATCH["y"]))
    kept = (np.abs(outputs["prediction"] - said[..., :1]) < 1e-4).reshape(16, -1).all(1)
    # Rows whose class was left out have another prediction.
    assert 10 <= kept.sum() <= 16
    np.testing.assert_allclose(outputs["fraction"][kept], 0.5 * (said[..., 1:][kept] + 1), atol=1e-4)


def test_the_error_is_that_of_the_noise(model):
    x, y = jnp.asarray(BATCH["x"]), jnp.asarray(BATCH["y"])
    outputs = jax.jit(lambda x, y: model(x, y, rngs=nnx.Rngs(0)))(x, y)
    alpha_bar = np.cumprod(1 - np.linspace(0.01, 0.7, 10))[np.round(10 * np.asarray(outputs["t"])).astype(int) - 1]
    alpha, sigma = (np.sqrt(a).reshape(-1, 1, 1, 1) for a in (alpha_bar, 1 - alpha_bar))
    eps = (np.asarray(outputs["xt"]) - alpha * np.asarray(outputs["x0"])) / sigma
    error = ((np.asarray(outputs["prediction"]) - eps) ** 2).mean()
    # ε from x_t and x₀ in float32, divided by σ ≥ 0.1.
    assert float(model.loss_fn({"x": x}, outputs)["error"]) == pytest.approx(error, rel=1e-4)


def test_guidance_of_one_is_no_guidance_and_others_are_felt(model):
    draw = lambda **given: np.asarray(model.sample(4, rngs=nnx.Rngs(0), y=BATCH["y"][:4], **given))  # noqa: E731
    plain, one, four = draw(), draw(guidance=1.0), draw(guidance=4.0)
    np.testing.assert_allclose(plain, one, atol=1e-5)
    assert np.abs(plain - four).max() > 1e-3


def test_samples_move_with_the_class(model):
    a, b = (np.asarray(model.sample(4, rngs=nnx.Rngs(0), y=y)) for y in (0, 1))
    assert np.abs(a - b).max() > 1e-3


def test_estimates_of_x0_are_kept_in_range_where_that_is_asked_for(model):
    _, arrays = flatten(model)
    xt = jax.random.normal(jax.random.key(1), (4, 4, 4, 1))

    def drawn(clip_x0):
        again = create_model(CONFIG.replace(data_range=None, clip_x0=clip_x0), rngs=nnx.Rngs(0))
        found = merge(flatten(again)[0], arrays).diffusion
        return found.generate(4, y=jnp.zeros(4, jnp.int32), xt=xt, solver="ddim", steps=1, rngs=nnx.Rngs(0))

    free, kept = drawn(False), drawn(True)  # one step returns the estimate itself
    assert jnp.abs(free).max() > 1
    np.testing.assert_array_equal(kept, jnp.clip(free, -1, 1))


@pytest.mark.parametrize("y", [2, -1])
def test_a_class_out_of_range_is_refused(model, y):
    with pytest.raises(ValueError, match=r"'y' in 0 … 1"):
        model.generate(1, y=jnp.array([y]), rngs=nnx.Rngs(0))


def test_a_network_without_classes_is_refused():
    with pytest.raises(ValueError, match="'network' with n_classes and without out_channels"):
        DiTConfig(network=CONFIG.network.replace(n_classes=None))
