"""The networks that a model's config can name.

Every network config has the fields `shape` (of the data, channels last), `n_classes` and `out_channels` (None: those
of the data), and its network is a callable `network(xt, c, y=None, *, rngs=None)`, the contract in `prediction`. To add
one, write both in a file of their own and name them here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.data.spec import DataSpec
from artifex.diffusion.perceptron import Perceptron, PerceptronConfig
from artifex.diffusion.transformer import Transformer, TransformerConfig
from artifex.diffusion.unet import UNet, UNetConfig

AnyNetwork = PerceptronConfig | UNetConfig | TransformerConfig
_NETWORK = {PerceptronConfig: Perceptron, UNetConfig: UNet, TransformerConfig: Transformer}


@dataclass(frozen=True, kw_only=True)
class DenoisingConfig(ModelConfig):
    """What configs with the fields `network` and `data_range` share."""

    training: ClassVar[dict[str, Any]] = {  # papers take 2e-4 and many more steps; small networks bear more
        "ema_decay": 0.995,
        "optimizer": {"learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 100},
    }

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape and range of the data, and a network that suits them."""
        fields: dict[str, Any] = {"network": network_for(spec), "data_range": range_of(spec)}
        return cls(**fields)


def network_for(spec: DataSpec, **fields: Any) -> AnyNetwork:
    """A U-Net for pictures of 16 pixels and more whose sides halve twice, or else a perceptron."""
    shaped: dict[str, Any] = {"shape": spec.shape, **fields}
    if len(spec.shape) == 3 and min(spec.shape[:2]) >= 16 and not any(side % 4 for side in spec.shape[:2]):
        return UNetConfig(attention_at=(spec.shape[0] // 4,), **shaped)
    return PerceptronConfig(**shaped)


def range_of(spec: DataSpec) -> tuple[float, float] | None:
    """The range of the data, where they have one."""
    return None if spec.low is None or spec.high is None else (spec.low, spec.high)


def make_network(config: AnyNetwork, *, rngs: nnx.Rngs) -> Any:
    """The network that a config describes."""
    return _NETWORK[type(config)](config, rngs=rngs)


def with_dropout(network: Any, rngs: nnx.Rngs | None) -> Any:
    """The network with streams for its dropout; without them nothing is dropped."""
    return network if rngs is None else functools.partial(network, rngs=rngs)
