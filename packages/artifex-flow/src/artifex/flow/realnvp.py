"""RealNVP for vectors.

    z_b = x_b ⊙ e^{s(x_a, c)} + t(x_a, c),    z_a = x_a,    s = r tanh(ŝ), r learned                             (1)
    log p(x) = log N(z; 0, I) + Σ over layers and i of sᵢ, and what the norm adds                                 (2)
The halves swap places from layer to layer.

Differs:
    One ActNorm next to the data stands for batch norm between the layers, with which log p of a row depends on the rows
    beside it. Layers start near the identity, so that what one norm gives is still normal behind them all.

References:
    [1] Dinh et al., Density estimation using Real NVP, 2017, arXiv:1605.08803
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx

from artifex.flow.affine import Bounded
from artifex.flow.base import StandardNormal
from artifex.flow.bijector import Bijector, Chain, ScanChain
from artifex.flow.couple import Coupling, Swap, passing
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.linear import ActNorm
from artifex.flow.networks import NEAR_ZERO, AnyNet, Conditioner, MLPConfig


@dataclass(frozen=True, kw_only=True)
class RealNVPConfig(FlowConfig):
    """A RealNVP of vectors."""

    dim: int = 2  # numbers in x
    n_layers: int = 8
    net: AnyNet = field(default_factory=MLPConfig)


class RealNVP(Flow):
    """A RealNVP."""

    def __init__(self, config: RealNVPConfig, *, rngs: nnx.Rngs) -> None:
        def layer(rngs: nnx.Rngs) -> Bijector:
            return Chain(affine_coupling(config, rngs), Swap(config.dim))

        bijector = Chain(ActNorm((config.dim,), rngs=rngs), ScanChain(layer, config.n_layers, rngs=rngs))
        super().__init__(config, StandardNormal((config.dim,), config.dtype), bijector, rngs=rngs)


def affine_coupling(config: RealNVPConfig, rngs: nnx.Rngs) -> Coupling:
    """One coupling (eq. 1)."""
    split = passing(config.dim)
    sizes = (split, config.dim - split)
    scalar = Bounded(sizes[1], rngs=rngs)
    conditioner = Conditioner(
        config.net, sizes, scalar.n_params, context_dim=config.context_dim, out_init=NEAR_ZERO, rngs=rngs
    )
    return Coupling(config.dim, scalar, conditioner)
