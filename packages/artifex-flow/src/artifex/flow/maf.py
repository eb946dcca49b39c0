"""Masked autoregressive flow.

    zᵢ = (xᵢ − μᵢ) e^{−αᵢ},    (μᵢ, αᵢ) = MADE(x₁ … xᵢ₋₁, c)                                                     (1)
    log p(x) = log N(z; 0, I) − Σ over layers and i of αᵢ, and what the norm adds                                 (2)
The order of the numbers is reversed from layer to layer. Evaluating a density takes one pass a layer, sampling sweeps.

Differs:
    One ActNorm next to the data stands for batch norm between the layers, with which log p of a row depends on the rows
    beside it. Layers start near the identity, so that what one norm gives is still normal behind them all.
    αᵢ is bounded (`affine`, eq. 1); [1] leaves it free, and samples may overflow.

References:
    [1] Papamakarios, Pavlakou & Murray, Masked Autoregressive Flow, 2017, arXiv:1705.07057
    [2] Germain et al., MADE: Masked Autoencoder for Distribution Estimation, 2015, arXiv:1502.03509
"""

from __future__ import annotations

from dataclasses import dataclass

from flax import nnx

from artifex.core.nn.masked import MADE
from artifex.core.nn.mlp import Activation
from artifex.flow.affine import Exponential
from artifex.flow.autoregressive import Autoregressive, Solve
from artifex.flow.base import StandardNormal
from artifex.flow.bijector import Bijector, Chain, ScanChain
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.linear import ActNorm, Reverse
from artifex.flow.networks import NEAR_ZERO


@dataclass(frozen=True, kw_only=True)
class MAFConfig(FlowConfig):
    """A masked autoregressive flow of vectors."""

    dim: int = 2  # numbers in x
    n_layers: int = 5  # [1] uses 5 or 10
    hidden_dims: tuple[int, ...] = (100,)  # [1] uses one or two layers of 100 or 512
    activation: Activation = "relu"
    solve: Solve = "jacobi"  # how samples are found


class MAF(Flow):
    """A masked autoregressive flow."""

    def __init__(self, config: MAFConfig, *, rngs: nnx.Rngs) -> None:
        def layer(rngs: nnx.Rngs) -> Bijector:
            return Chain(affine_layer(config, rngs), Reverse(config.dim))

        bijector = Chain(ActNorm((config.dim,), rngs=rngs), ScanChain(layer, config.n_layers, rngs=rngs))
        super().__init__(config, StandardNormal((config.dim,), config.dtype), bijector, rngs=rngs)


def affine_layer(config: MAFConfig, rngs: nnx.Rngs) -> Autoregressive:
    """One transform (eq. 1)."""
    made = MADE(
        config.dim,
        Exponential.n_params,
        config.hidden_dims,
        context_dim=config.context_dim,
        activation=config.activation,
        out_init=NEAR_ZERO,
        rngs=rngs,
    )
    return Autoregressive(Exponential(), made, config.solve)
