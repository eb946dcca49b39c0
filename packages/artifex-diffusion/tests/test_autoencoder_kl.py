"""The autoencoder's two losses against their formulas."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core import create_model
from artifex.core.data.spec import DataSpec
from artifex.core.leaves import flatten, merge
from artifex.core.training.objective import StepContext
from artifex.diffusion.autoencoder_kl import AutoencoderKL, judge_loss
from artifex.diffusion.discriminator import deceived, hinge
from artifex.diffusion.examples import autoencoder_kl

CONFIG, ARRAYS = autoencoder_kl()
BATCH = {"x": jnp.asarray(ARRAYS["x"])}


@pytest.fixture(scope="module")
def model() -> AutoencoderKL:
    return create_model(CONFIG, rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def losses(model):
    """Outputs and loss terms at a step."""
    layout, arrays = flatten(model)

    @jax.jit
    def run(arrays, step):
        m = merge(layout, arrays)
        outputs = m(BATCH["x"], rngs=nnx.Rngs(0))
        return outputs, m.loss_fn(BATCH, outputs, step=step)

    return lambda step: jax.device_get(run(arrays, jnp.asarray(step)))


def test_the_loss_is_error_and_kl_and_the_weighted_judgement(losses):
    outputs, terms = losses(5)
    mean, log_std = (np.asarray(outputs[name], float) for name in ("mean", "log_std"))
    error = np.abs(BATCH["x"] - outputs["reconstruction"]).sum((1, 2, 3)).mean()
    kl = 0.5 * (mean**2 + np.exp(2 * log_std) - 1 - 2 * log_std).sum((1, 2, 3)).mean()
    # Sums of a few dozen float32 numbers.
    assert terms["reconstruction"] == pytest.approx(error, rel=1e-5)
    assert terms["kl"] == pytest.approx(kl, rel=1e-5)


def test_the_weight_balances_the_gradients_of_the_last_kernel(model, losses):
    layout, arrays = flatten(model)
    kernel = "coder/decoder/out/kernel"
    _, terms = losses(5)

    def picture(k):
        return merge(layout, {**arrays, kernel: k})(BATCH["x"], rngs=nnx.Rngs(0))["reconstruction"]

    def error(k):
        return jnp.abs(BATCH["x"] - picture(k)).sum((1, 2, 3)).mean()

    def judged(k):
        return -model.discriminator(picture(k)).mean()

    norms = [float(jnp.linalg.norm(jax.jit(jax.grad(term))(arrays[kernel]))) for term in (error, judged)]
    weight = 0.5 * min(norms[0] / (norms[1] + 1e-4), 1e4)
    expected = terms["reconstruction"] + 1e-6 * terms["kl"] + weight * terms["adversarial"]
    assert terms["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_judgement_joins_at_its_step():
    late = create_model(CONFIG.replace(adversarial_start=3), rngs=nnx.Rngs(0))
    layout, arrays = flatten(late)

    @jax.jit
    def run(arrays, step):
        m = merge(layout, arrays)
        return m.loss_fn(BATCH, m(BATCH["x"], rngs=nnx.Rngs(0)), step=step)

    before, after = (run(arrays, jnp.asarray(step)) for step in (2, 3))
    plain = before["reconstruction"] + 1e-6 * before["kl"]
    assert float(before["loss"]) == pytest.approx(float(plain), rel=1e-6)
    assert float(after["loss"]) != pytest.approx(float(plain), rel=1e-4)


def test_hinge_is_zero_beyond_the_margin_and_linear_within():
    real = jnp.array([[[2.0]], [[0.5]], [[-1.0]]])
    np.testing.assert_allclose(hinge(real, -real), [0.0, 0.5, 2.0])
    np.testing.assert_allclose(deceived(real), [-2.0, -0.5, 1.0])


def test_the_discriminator_judges_each_row_by_itself(model):
    x = BATCH["x"]
    judge = jax.jit(model.discriminator.__call__)
    np.testing.assert_allclose(judge(x)[0], judge(x.at[1:].add(5.0))[0], rtol=1e-6)


def test_the_discriminators_loss_moves_no_autoencoder(model):
    layout, arrays = flatten(model)

    kernel = "coder/decoder/out/kernel"

    def loss(k):
        here = StepContext(jnp.asarray(5), 10, nnx.Rngs(0))
        return judge_loss(merge(layout, {**arrays, kernel: k}), BATCH, here)["loss"]

    slope = jax.jit(jax.grad(loss))(arrays[kernel])
    assert float(jnp.abs(slope).max()) == 0


def test_the_type_that_is_asked_for_is_built(model):
    assert type(model) is AutoencoderKL
    assert create_model(CONFIG.replace(adversarial_weight=0.0), rngs=nnx.Rngs(0)).discriminator is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec(shape=(8, 8, 1)), r"data of shape \(4, 4, 1\), got \(8, 8, 1\).*model.coder.shape"),
        (DataSpec(shape=(4, 4, 1), dtype="uint8", low=0, high=255), r"\[-1, 1\], got uint8 in \[0, 255\]"),
    ],
)
def test_data_that_do_not_fit_are_refused(model, spec, message):
    with pytest.raises(ValueError, match=message):
        model.check_data(spec)


def test_a_discriminator_that_leaves_no_patch_is_refused():
    with pytest.raises(ValueError, match=r"leave a patch of \(4, 4\), got \(4, 4, 4\)"):
        CONFIG.replace(discriminator_widths=(4, 4, 4))


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="'kl_weight', 'adversarial_weight' and 'adversarial_start' >= 0"):
        CONFIG.replace(kl_weight=-1.0)
