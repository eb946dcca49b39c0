"""The transformer of DiT against the published one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten
from artifex.diffusion.transformer import Transformer, TransformerConfig, patches, sized, unpatch
from artifex.diffusion.weights import load_weights, published_weights, transformer_keys

TINY = TransformerConfig(shape=(4, 6, 4), patch=2, depth=2, width=16, n_heads=2, n_classes=10, out_channels=8)
LEVELS = np.array([3.0, 500.0], np.float32)


@pytest.mark.parametrize(
    ("size", "n"),
    [
        ("S", 32_865_056),
        pytest.param("B", 130_315_808, marks=pytest.mark.slow),
        pytest.param("L", 457_840_672, marks=pytest.mark.slow),
        pytest.param("XL", 674_834_720, marks=pytest.mark.slow),
    ],
)
def test_each_size_has_the_published_number_of_parameters(size, n):
    abstract = nnx.eval_shape(lambda: Transformer(sized(size, 2, out_channels=8), rngs=nnx.Rngs(0)))
    assert sum(x.size for x in jax.tree.leaves(nnx.state(abstract, nnx.Param))) == n


def test_equal_weights_give_the_prediction_of_diffusers(peers):
    diffusers = pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    config = TINY.replace(shape=(4, 4, 4))
    other = peers.drawn(
        diffusers.DiTTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            sample_size=4,
            patch_size=2,
            num_embeds_ada_norm=10,
        )
    )
    first, second = (block.norm1.emb for block in other.transformer_blocks)
    second.load_state_dict(first.state_dict())
    for embedding in (first, second):
        # It ends its frequencies at 1/P; the paper's code, with which the weights were trained, does not.
        embedding.time_proj.downscale_freq_shift = 0
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 4)).astype(np.float32)
    y = np.array([3, 10])
    with torch.no_grad():
        theirs = other(torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(LEVELS), class_labels=torch.tensor(y)).sample
    ours = peers.loaded(Transformer(config, rngs=nnx.Rngs(0)), other, transformer_keys(2, 2))
    # float32 through two blocks: 4e-6 measured.
    assert peers.relative(peers.called(ours, x, LEVELS, y), theirs.numpy().transpose(0, 2, 3, 1)) < 2e-5


def test_published_weights_hold_one_embedding_a_block_and_come_back():
    ours, again = (Transformer(TINY, rngs=nnx.Rngs(seed)) for seed in (0, 1))
    keys = transformer_keys(2, 2)
    tensors = published_weights(ours, keys)
    name = "transformer_blocks.{}.norm1.emb.timestep_embedder.linear_1.weight"
    np.testing.assert_array_equal(tensors[name.format(0)], tensors[name.format(1)])
    assert tensors["pos_embed.proj.weight"].shape == (16, 4, 2, 2)
    load_weights(again, tensors, keys)
    first, second = flatten(ours)[1], flatten(again)[1]
    assert all(np.array_equal(first[path], second[path]) for path in first)


def test_copies_that_differ_are_refused():
    ours, keys = Transformer(TINY, rngs=nnx.Rngs(0)), transformer_keys(2, 2)
    name = "transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight"
    tensors = published_weights(ours, keys)
    with pytest.raises(ValueError, match=r"transformer_blocks.0.*embedding_table.weight differs from its copies"):
        load_weights(ours, {**tensors, name: tensors[name] + 1}, keys)


def test_the_network_starts_as_the_zero_function_and_its_blocks_as_the_identity(peers):
    network = Transformer(TINY, rngs=nnx.Rngs(0))
    h, e = jax.random.normal(jax.random.key(0), (2, 6, 16)), jnp.ones((2, 16))
    np.testing.assert_array_equal(network.blocks[0](h, e), h)
    assert np.all(peers.called(network, jnp.ones((2, 4, 6, 4)), LEVELS) == 0)


def test_patches_are_squares_and_come_back():
    x = np.random.default_rng(0).standard_normal((2, 4, 6, 3)).astype(np.float32)
    h = patches(jnp.asarray(x), 2)
    np.testing.assert_array_equal(h[1, 4].reshape(2, 2, 3), x[1, 2:4, 2:4])
    np.testing.assert_array_equal(unpatch(h, (2, 3), 2), x)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"patch": 3}, "sides that divide by 3"), ({"width": 18}, "divides by 4"), ({"n_heads": 3}, "n_heads = 3")],
)
def test_a_config_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TINY.replace(**fields)
