"""Text to image against the stored run of the published pipeline on random weights."""

from __future__ import annotations

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.flax import load_file, save_file

from artifex.core.data.spec import DataSpec
from artifex.core.leaves import flatten, merge
from artifex.diffusion.examples import stable_diffusion
from artifex.diffusion.published import load_stable_diffusion
from artifex.diffusion.solver import DDIMSolver, solve
from artifex.diffusion.stable_diffusion import StableDiffusion, published_grid

# float32 in other orders of summation; 1.1e-6 measured, also after ten guided steps.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def folder(reference):
    return reference / "tiny_sd"


@pytest.fixture(scope="module")
def model(folder):
    return load_stable_diffusion(folder)


@pytest.fixture(scope="module")
def array(folder):
    """Stored arrays with channels last."""
    stored = np.load(folder / "reference.npz")

    def named(name):
        x = stored[name]
        return jnp.asarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)

    return named


def close(ours, theirs):
    theirs = np.asarray(theirs)
    assert np.abs(np.asarray(ours) - theirs).max() < TOLERANCE * np.abs(theirs).max()


def compiled(model, function):
    layout, arrays = flatten(model)
    return lambda *inputs: jax.jit(lambda arrays, *inputs: function(merge(layout, arrays), *inputs))(arrays, *inputs)


def test_text_becomes_the_stored_vectors(model, array):
    text = compiled(model, lambda m, ids: m.text(ids))(jnp.concatenate([array("ids"), array("unc")]))
    close(text, jnp.concatenate([array("cond"), array("uncond")]))


def test_the_network_predicts_the_stored_noise(model, array):
    run = compiled(model, lambda m, x, c: m.unet(x, jnp.array([500.0]), c))
    close(run(array("x_T"), array("cond")), array("unet_t500"))


def test_ten_guided_steps_end_at_the_stored_codes_and_the_stored_picture(model, array):
    @compiled_on(model)
    def run(m, z, ids, negative):
        grid = published_grid(m.config.schedule, 10)
        z = solve(m.guided(ids, negative, 7.5), z, grid, DDIMSolver())
        return z, m.to_picture(z)

    z, picture = run(array("x_T"), array("ids"), array("unc")[0])
    close(z, array("latents_cfg7.5_ddim10"))
    close(picture, array("decoded"))


def compiled_on(model):
    """A decorator that compiles a function of the model and of arrays."""
    return lambda function: compiled(model, function)


def test_pictures_become_the_stored_codes(model, array):
    q = compiled(model, lambda m, x: m.coder.posterior(x))(jnp.clip(array("decoded"), -1, 1))
    close(q.mean, array("enc_mean"))
    close(2 * q.log_std, array("enc_logvar"))


def test_text_weights_may_have_the_prefix_of_published_files(folder, model, tmp_path):
    shutil.copytree(folder, tmp_path / "sd")
    file = tmp_path / "sd" / "text_encoder" / "model.safetensors"
    file.chmod(0o644)
    tensors = {f"text_model.{name}": x for name, x in load_file(file).items()}
    save_file({**tensors, "text_model.embeddings.position_ids": jnp.arange(77)[None]}, file)
    again = load_stable_diffusion(tmp_path / "sd")
    ours, theirs = flatten(model.text)[1], flatten(again.text)[1]
    assert all(np.array_equal(ours[path], theirs[path]) for path in ours)


def test_a_setting_that_asks_for_another_network_is_refused_by_name(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "sd")
    file = tmp_path / "sd" / "unet" / "config.json"
    settings = json.loads(file.read_text())
    file.chmod(0o644)
    file.write_text(json.dumps({**settings, "addition_embed_type": "text_time", "act_fn": "mish"}))
    with pytest.raises(ValueError, match=r"act_fn = 'mish'.*addition_embed_type = 'text_time'.*unet/config.json"):
        load_stable_diffusion(tmp_path / "sd")


def test_a_folder_without_a_part_is_refused(folder, tmp_path):
    shutil.copytree(folder / "unet", tmp_path / "unet")
    with pytest.raises(ValueError, match=r"expected .*vae/config.json, got no such file"):
        load_stable_diffusion(tmp_path)


def test_a_model_made_of_shapes_has_every_array_once_it_is_loaded(folder, model):
    arrays = flatten(model)[1]
    drawn = flatten(StableDiffusion(model.config, rngs=nnx.Rngs(0)))[1]
    assert {path: (x.shape, x.dtype) for path, x in arrays.items()} == {p: (x.shape, x.dtype) for p, x in drawn.items()}
    assert all(isinstance(x, jax.Array) for x in arrays.values())
    again = flatten(load_stable_diffusion(folder))[1]
    assert all(np.array_equal(x, again[path]) for path, x in arrays.items())


def test_a_missing_tensor_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "sd")
    file = tmp_path / "sd" / "vae" / "diffusion_pytorch_model.safetensors"
    file.chmod(0o644)
    tensors = load_file(file)
    del tensors["quant_conv.bias"]
    save_file(tensors, file)
    with pytest.raises(ValueError, match=r"quant_conv.bias is missing. Nothing was loaded"):
        load_stable_diffusion(tmp_path / "sd")


@pytest.fixture(scope="module")
def tiny() -> StableDiffusion:
    model = StableDiffusion(stable_diffusion()[0], rngs=nnx.Rngs(0))
    kernel = model.unet.out.kernel  # a new network predicts 0, whatever it is asked
    kernel.set_value(0.3 * jax.random.normal(jax.random.key(0), kernel.shape))
    model.eval()
    return model


PROMPT = np.array([[5, 0, 6, 6]], np.int32)


@pytest.mark.slow
def test_guidance_is_affine_in_its_scale(tiny):
    z = jax.random.normal(jax.random.key(1), (1, 4, 4, 2))
    run = compiled(tiny, lambda m, w: m.guided(jnp.asarray(PROMPT), None, w)(z, jnp.asarray(0.5)))
    at = [np.asarray(run(jnp.asarray(w))) for w in (0.0, 1.0, 3.0)]
    plain = compiled(tiny, lambda m, z: m.guided(jnp.asarray(PROMPT), None, 1.0)(z, jnp.asarray(0.5)))(z)
    np.testing.assert_allclose(at[1], plain, atol=1e-6)
    np.testing.assert_allclose(at[2], at[0] + 3 * (at[1] - at[0]), atol=1e-5)


def test_pictures_follow_the_prompt_and_the_negative_prompt(tiny):
    draw = lambda **given: np.asarray(tiny.sample(1, rngs=nnx.Rngs(0), **given))  # noqa: E731
    first, other = draw(y=PROMPT), draw(y=PROMPT + np.array([0, 1, 0, 0], np.int32))
    against = draw(y=PROMPT, negative=PROMPT[0] + np.array([0, 1, 0, 0], np.int32))
    assert np.abs(first - other).max() > 1e-5
    assert np.abs(first - against).max() > 1e-5


def test_a_negative_prompt_without_guidance_is_refused(tiny):
    with pytest.raises(ValueError, match="'guidance' other than 1 beside a negative prompt"):
        tiny.guided(jnp.asarray(PROMPT), jnp.asarray(PROMPT[0]), 1.0)


def test_prompts_of_another_length_are_refused(tiny):
    with pytest.raises(ValueError, match="'y' with 4 token numbers a prompt, got 3"):
        tiny.guided(jnp.asarray(PROMPT[:, :3]))


@pytest.mark.parametrize("steps", [10, 11])
def test_more_steps_than_the_schedule_has_are_refused(tiny, steps):
    with pytest.raises(ValueError, match=f"'steps' from 1 to 9, got {steps}"):
        tiny.generate(1, steps=steps, rngs=nnx.Rngs(0))


def test_the_published_grid_ends_at_the_first_step():
    grid = published_grid(stable_diffusion()[0].replace().schedule, 4)
    np.testing.assert_allclose(grid.t * 10, [8, 6, 4, 2, 1])
    assert grid.sigma[-1] > 0


def test_tokens_outside_the_vocabulary_give_nan_and_not_other_words(tiny):
    text = compiled(tiny, lambda m, ids: m.text(ids))(jnp.array([[5, 7, 6, 6]]))
    assert np.isnan(np.asarray(text)[0, 1:]).all()


def test_integer_pictures_are_refused(tiny):
    with pytest.raises(ValueError, match=r"numbers in \[-1, 1\], got uint8"):
        tiny.check_data(DataSpec(shape=(4, 4, 1), dtype="uint8", low=0, high=255))


def test_parts_that_do_not_fit_are_refused():
    config = stable_diffusion()[0]
    with pytest.raises(ValueError, match=r"unet.context = 8"):
        config.replace(unet=config.unet.replace(context=9))
