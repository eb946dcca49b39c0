"""Encoder and decoder against the published ones."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx

from artifex.diffusion.autoencoder import Coder, CoderConfig
from artifex.diffusion.weights import CODER

TINY = CoderConfig(shape=(8, 8, 3), widths=(8, 16), n_blocks=1, groups=4)


def moments(coder: Coder, x: jax.Array) -> jax.Array:
    q = coder.posterior(x)
    return jax.numpy.stack([q.mean, q.log_std])


def test_it_has_the_published_number_of_parameters():
    abstract = nnx.eval_shape(lambda: Coder(CoderConfig(), rngs=nnx.Rngs(0)))
    assert sum(x.size for x in jax.tree.leaves(nnx.state(abstract, nnx.Param))) == 83_653_863


@pytest.mark.parametrize("names", ["new", "old"])
def test_equal_weights_give_the_codes_and_pictures_of_diffusers(peers, names):
    diffusers = pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    other = peers.drawn(
        diffusers.AutoencoderKL(
            block_out_channels=(8, 16),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
            sample_size=8,
        )
    )
    rng = np.random.default_rng(0)
    x, z = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 8, 8, 3), (2, 4, 4, 4)))
    tensors = peers.tensors_of(other)
    if names == "old":
        tensors = {_old(name): tensor for name, tensor in tensors.items()}
    coder = peers.loaded(Coder(TINY, rngs=nnx.Rngs(0)), tensors, CODER)
    with torch.no_grad():
        q = other.encode(torch.tensor(x.transpose(0, 3, 1, 2))).latent_dist
        picture = other.decode(torch.tensor(z.transpose(0, 3, 1, 2))).sample
    mean, log_std = peers.called(coder, x, method=moments)
    # float32 through twenty layers: 1e-6 measured.
    assert peers.relative(mean, q.mean.numpy().transpose(0, 2, 3, 1)) < 1e-5
    assert peers.relative(log_std, q.logvar.numpy().transpose(0, 2, 3, 1) / 2) < 1e-5
    assert peers.relative(peers.called(coder, z, method=Coder.decode), picture.numpy().transpose(0, 2, 3, 1)) < 1e-5


def _old(name: str) -> str:
    """The name that a tensor had in earlier published files."""
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
    return name


def test_the_shape_of_a_code_follows_from_the_config():
    assert CoderConfig().latent_shape == (32, 32, 4)
    assert TINY.latent_shape == (4, 4, 4)


def test_sides_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="sides that divide by 8, got"):
        CoderConfig(shape=(36, 36, 3))
