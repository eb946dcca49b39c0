"""The networks that a model's config can name.

Every network config has the fields `shape` (of the data, channels last), `n_classes` and `out_channels` (None: those
of the data), and its network is a callable `network(xt, c, y=None, *, rngs=None)`, the contract in `prediction`. To add
one, write both in a file of their own and name them here.
"""

from __future__ import annotations

import functools
from typing import Any

from flax import nnx

from artifex.diffusion.perceptron import Perceptron, PerceptronConfig
from artifex.diffusion.transformer import Transformer, TransformerConfig
from artifex.diffusion.unet import UNet, UNetConfig

AnyNetwork = PerceptronConfig | UNetConfig | TransformerConfig
_NETWORK = {PerceptronConfig: Perceptron, UNetConfig: UNet, TransformerConfig: Transformer}


def make_network(config: AnyNetwork, *, rngs: nnx.Rngs) -> Any:
    """The network that a config describes."""
    return _NETWORK[type(config)](config, rngs=rngs)


def with_dropout(network: Any, rngs: nnx.Rngs | None) -> Any:
    """The network with streams for its dropout; without them nothing is dropped."""
    return network if rngs is None else functools.partial(network, rngs=rngs)
