"""The text encoder against the published one."""

from __future__ import annotations

import numpy as np
import pytest
from flax import nnx

from artifex.diffusion.text import TextEncoder, TextEncoderConfig
from artifex.diffusion.weights import TEXT

TINY = TextEncoderConfig(n_tokens=50, length=9, width=16, inner=32, depth=2, n_heads=2)


@pytest.mark.parametrize(("activation", "skip"), [("quick_gelu", 0), ("gelu", 0), ("gelu", 1)])
def test_equal_weights_give_the_vectors_of_transformers(peers, activation, skip):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    other = peers.drawn(
        transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                vocab_size=50,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=9,
                hidden_act=activation,
                bos_token_id=0,
                eos_token_id=2,
            )
        )
    )
    ids = np.random.default_rng(0).integers(3, 50, (2, 9))
    with torch.no_grad():
        out = other(torch.tensor(ids), output_hidden_states=True)
        norm = getattr(other, "text_model", other).final_layer_norm
        theirs = norm(out.hidden_states[-1 - skip]).numpy()
    tensors = {name: x for name, x in peers.tensors_of(other).items() if f"layers.{2 - skip}." not in name}
    ours = peers.loaded(TextEncoder(TINY.replace(activation=activation, skip=skip), rngs=nnx.Rngs(0)), tensors, TEXT)
    # float32 through two layers: 4e-7 measured.
    assert peers.relative(peers.called(ours, ids), theirs) < 5e-6


def test_a_token_sees_none_after_it(peers):
    encoder = TextEncoder(TINY, rngs=nnx.Rngs(0))
    ids = np.random.default_rng(0).integers(3, 50, (1, 9))
    other = np.where(np.arange(9) > 4, 1 + ids % 49, ids)
    a, b = peers.called(encoder, ids), peers.called(encoder, other)
    np.testing.assert_array_equal(a[:, :5], b[:, :5])
    assert np.abs(a[:, 5:] - b[:, 5:]).min() > 0


def test_more_layers_left_out_than_there_are_is_refused():
    with pytest.raises(ValueError, match="'skip' < depth = 2, got 2"):
        TINY.replace(skip=2)
