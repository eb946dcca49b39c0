"""The U-shaped network against the published one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten
from artifex.diffusion.unet import UNet, UNetConfig
from artifex.diffusion.weights import UNET

TINY = UNetConfig(shape=(8, 8, 3), widths=(8, 16), n_blocks=2, attention_at=(4,), n_heads=2, groups=4, n_classes=10)
LEVELS = np.array([3.0, 500.0], np.float32)


def n_parameters(config: UNetConfig) -> int:
    abstract = nnx.eval_shape(lambda: UNet(config, rngs=nnx.Rngs(0)))
    return sum(x.size for x in jax.tree.leaves(nnx.state(abstract, nnx.Param)))


@pytest.mark.slow
def test_the_cifar_config_has_the_published_number_of_parameters():
    assert n_parameters(UNetConfig(shape=(32, 32, 3), widths=(128, 256, 256, 256), n_blocks=2, attention_at=(16,))) == (
        35_746_307
    )


def test_the_small_config_has_the_stated_number_of_parameters():
    assert n_parameters(UNetConfig()) == 1_112_801


def test_equal_weights_give_the_prediction_of_diffusers(peers):
    diffusers = pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    other = peers.drawn(
        diffusers.UNet2DModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=2,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
            norm_eps=1e-6,
            downsample_padding=0,
            flip_sin_to_cos=False,
            freq_shift=1,
            attention_head_dim=8,
            num_class_embeds=11,
        )
    )
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    y = np.array([3, 10])
    with torch.no_grad():
        theirs = other(torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(LEVELS), class_labels=torch.tensor(y)).sample
    ours = peers.called(peers.loaded(UNet(TINY, rngs=nnx.Rngs(0)), other, UNET), x, LEVELS, y)
    # float32 through twenty layers: 1e-6 measured.
    assert peers.relative(ours, theirs.numpy().transpose(0, 2, 3, 1)) < 1e-5


def test_the_network_starts_as_the_zero_function(peers):
    x = jnp.ones((2, 8, 8, 3))
    assert np.all(peers.called(UNet(TINY, rngs=nnx.Rngs(0)), x, LEVELS) == 0)


def test_dropout_acts_only_where_there_are_random_streams():
    network = UNet(TINY.replace(dropout=0.5, n_blocks=1), rngs=nnx.Rngs(0))
    network.out.kernel.set_value(jnp.ones_like(network.out.kernel[...]))
    last = network.body.up[1].blocks[1].conv2.kernel
    last.set_value(jnp.ones_like(last[...]))
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    run = jax.jit(lambda key: network(x, jnp.asarray(LEVELS[:1]), rngs=None if key is None else nnx.Rngs(key)))
    assert np.array_equal(run(None), run(None))
    assert not np.allclose(run(jax.random.key(0)), run(jax.random.key(1)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("widths", (8, 24)), ("n_blocks", 3), ("attention_at", (8,)), ("n_classes", None), ("out_channels", 6)],
)
def test_a_field_changes_the_parameters(field, value):
    sizes = [
        {path: x.shape for path, x in flatten(UNet(config, rngs=nnx.Rngs(0)))[1].items()}
        for config in (TINY, TINY.replace(**{field: value}))
    ]
    assert sizes[0] != sizes[1]


def test_a_class_out_of_range_gives_nan_and_not_another_class():
    network = UNet(TINY, rngs=nnx.Rngs(0))
    e = jnp.zeros((3, 32))
    rows = np.asarray(network.table(jnp.array([10, 11, -1]), e))
    assert np.array_equal(np.isnan(rows).all(1), [False, True, True])
    np.testing.assert_array_equal(rows[0], network.table(None, e)[0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shape": (9, 9, 3)}, "sides that divide by 2"),
        ({"groups": 3}, "divide by groups = 3, got 8"),
        ({"attention_at": (5,)}, r"among the heights \[8, 4\], got 5"),
    ],
)
def test_a_config_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TINY.replace(**fields)
