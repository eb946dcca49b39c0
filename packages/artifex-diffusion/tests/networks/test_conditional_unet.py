"""The U-shaped network that looks at tokens, against the published one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.diffusion.conditional_unet import ConditionalUNet, ConditionalUNetConfig
from artifex.diffusion.weights import CONDITIONAL_UNET

TINY = ConditionalUNetConfig(
    shape=(4, 4, 4), widths=(8, 16), n_blocks=1, attends=(True, False), n_heads=(2, 4), context=12, groups=4
)
LEVELS = np.array([3.0, 500.0], np.float32)


@pytest.mark.slow  # a tracing of 686 tensors; the tiny networks below fix the structure
def test_it_has_the_published_number_of_parameters():
    abstract = nnx.eval_shape(lambda: ConditionalUNet(ConditionalUNetConfig(), rngs=nnx.Rngs(0)))
    assert sum(x.size for x in jax.tree.leaves(nnx.state(abstract, nnx.Param))) == 859_520_964


@pytest.mark.parametrize("linear", [False, True])
def test_equal_weights_give_the_prediction_of_diffusers(peers, linear):
    diffusers = pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    other = peers.drawn(
        diffusers.UNet2DConditionModel(
            sample_size=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            norm_num_groups=4,
            cross_attention_dim=12,
            attention_head_dim=[2, 4],
            use_linear_projection=linear,
        )
    )
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 4, 4)).astype(np.float32)
    c = rng.standard_normal((2, 5, 12)).astype(np.float32)
    with torch.no_grad():
        theirs = other(torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(LEVELS), torch.tensor(c)).sample
    ours = peers.loaded(ConditionalUNet(TINY.replace(linear=linear), rngs=nnx.Rngs(0)), other, CONDITIONAL_UNET)
    # float32 through twenty layers: 1e-6 measured.
    assert peers.relative(peers.called(ours, x, LEVELS, c), theirs.numpy().transpose(0, 2, 3, 1)) < 1e-5


def test_the_prediction_moves_with_the_condition():
    network = ConditionalUNet(TINY, rngs=nnx.Rngs(0))
    network.out.kernel.set_value(jnp.ones_like(network.out.kernel[...]))
    x, c = jnp.ones((1, 4, 4, 4)), jax.random.normal(jax.random.key(0), (2, 1, 5, 12))
    run = jax.jit(lambda c: network(x, jnp.asarray(LEVELS[:1]), c))
    assert float(jnp.abs(run(c[0]) - run(c[1])).max()) > 1e-3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_heads": (2,)}, "one entry a level"),
        ({"shape": (5, 5, 4)}, "sides that divide by 2"),
        ({"groups": 3}, "divide by groups"),
    ],
)
def test_a_config_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TINY.replace(**fields)
