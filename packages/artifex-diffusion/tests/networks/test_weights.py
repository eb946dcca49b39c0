"""Weights in published files: read whole or refused whole."""

from __future__ import annotations

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.flax import save_file

from artifex.core.leaves import flatten
from artifex.diffusion.text import TextEncoder, TextEncoderConfig
from artifex.diffusion.weights import TEXT, UNET, load_weights, published_names, published_weights, read_tensors

TINY = TextEncoderConfig(n_tokens=11, length=5, width=8, inner=12, depth=1, n_heads=2)


@pytest.fixture
def encoder() -> TextEncoder:
    return TextEncoder(TINY, rngs=nnx.Rngs(0))


@pytest.fixture
def tensors() -> dict:
    return published_weights(TextEncoder(TINY, rngs=nnx.Rngs(1)), TEXT)


def test_kernels_are_published_transposed(encoder):
    tensors = published_weights(encoder, TEXT)
    kernel = encoder.layers[0].mlp1.kernel[...]
    np.testing.assert_array_equal(tensors["encoder.layers.0.mlp.fc1.weight"], kernel.T)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("body/down/0/resize/conv/kernel", "down_blocks.0.downsamplers.0.conv.weight"),
        ("body/up/1/blocks/2/shortcut/bias", "up_blocks.1.resnets.2.conv_shortcut.bias"),
        ("body/mid/blocks/0/time/kernel", "mid_block.resnets.0.time_emb_proj.weight"),
        ("body/mid/attentions/0/attention/key/kernel", "mid_block.attentions.0.to_k.weight"),
        ("body/down/1/attentions/0/norm/scale", "down_blocks.1.attentions.0.group_norm.weight"),
        ("time/linear2/bias", "time_embedding.linear_2.bias"),
    ],
)
def test_paths_become_published_names(path, name):
    assert published_names(path, UNET) == (name,)


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_weights_come_back_with_and_without_a_prefix(encoder, tensors, prefix):
    named = {prefix + name: x for name, x in tensors.items()}
    load_weights(encoder, {**named, prefix + "embeddings.position_ids": jnp.arange(5)}, TEXT)
    again = published_weights(encoder, TEXT)
    assert all(np.array_equal(again[name], tensors[name]) for name in tensors)


def test_everything_that_does_not_fit_is_named_at_once_and_nothing_is_loaded(encoder, tensors):
    before = {path: np.asarray(x) for path, x in flatten(encoder)[1].items()}
    del tensors["final_layer_norm.bias"], tensors["encoder.layers.0.mlp.fc1.bias"]
    tensors |= {"logit_scale": jnp.ones(()), "encoder.layers.0.mlp.fc2.weight": jnp.ones((8, 8))}
    with pytest.raises(ValueError, match="Nothing was loaded") as error:
        load_weights(encoder, tensors, TEXT)
    for line in (
        "final_layer_norm.bias is missing",
        "encoder.layers.0.mlp.fc1.bias is missing",
        "logit_scale is left over",
        "encoder.layers.0.mlp.fc2.weight is [8, 8], which makes [8, 8], not [12, 8]",
    ):
        assert line in str(error.value)
    after = flatten(encoder)[1]
    assert all(np.array_equal(before[path], after[path]) for path in before)


def test_half_precision_is_widened(encoder, tensors):
    load_weights(encoder, {name: x.astype(jnp.float16) for name, x in tensors.items()}, TEXT)
    assert encoder.norm.scale.dtype == jnp.float32


def test_a_file_a_folder_and_parts_give_the_same_tensors(tmp_path, tensors):
    names = sorted(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    save_file(tensors, tmp_path / "model.fp16.safetensors")
    parts = tmp_path / "parts"
    parts.mkdir()
    places = {name: f"model-{1 + i % 2}-of-2.safetensors" for i, name in enumerate(names)}
    for part in set(places.values()):
        save_file({name: tensors[name] for name in names if places[name] == part}, parts / part)
    (parts / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    for path in (tmp_path / "model.safetensors", tmp_path, parts):
        read = read_tensors(path)
        assert sorted(read) == names
        assert all(np.array_equal(read[name], tensors[name]) for name in names)


def test_pickles_are_refused_by_file_and_by_folder(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    for path in (tmp_path / "pytorch_model.bin", tmp_path):
        with pytest.raises(ValueError, match=r"pytorch_model\.bin.*can run code"):
            read_tensors(path)


def test_a_folder_with_several_unusual_files_is_refused(tmp_path, tensors):
    for name in ("a.safetensors", "b.safetensors"):
        save_file(tensors, tmp_path / name)
    with pytest.raises(ValueError, match=r"one safetensors file .*'a\.safetensors', 'b\.safetensors'"):
        read_tensors(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(ValueError, match=r"expected a safetensors file, got .*model\.safetensors"):
        read_tensors(tmp_path)
