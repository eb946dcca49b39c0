"""Inverse autoregressive flow.

    x_l = σ z_l + (1 − σ) m,    σᵢ = sigmoid(sᵢ + 2),    (mᵢ, sᵢ) = MADE(z_l1 … z_l,i−1, c)                      (1)
    log p(x) = log N(z; 0, I) − Σ over layers and i of log σᵢ                                                     (2)
from base to data. Sampling takes one pass a layer, and `sample_and_log_prob` gives the density of its own samples
without going back: what a variational posterior needs. The density of given data takes D passes a layer.

Differs:
    sᵢ is bounded (`affine`, eq. 2); far from the data z grows by 1/σ in each layer, and a free sᵢ overflows there.

References:
    [1] Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, 2016, arXiv:1606.04934
"""

from __future__ import annotations

from dataclasses import dataclass

from flax import nnx

from artifex.core.nn.masked import MADE
from artifex.core.nn.mlp import Activation
from artifex.flow.affine import Gate
from artifex.flow.autoregressive import Autoregressive
from artifex.flow.base import StandardNormal
from artifex.flow.bijector import Bijector, Chain, Inverse, ScanChain
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.linear import ActNorm, Reverse
from artifex.flow.networks import NEAR_ZERO


@dataclass(frozen=True, kw_only=True)
class IAFConfig(FlowConfig):
    """An inverse autoregressive flow of vectors."""

    dim: int = 2  # numbers in x
    n_layers: int = 4
    hidden_dims: tuple[int, ...] = (100,)
    activation: Activation = "elu"


class IAF(Flow):
    """An inverse autoregressive flow."""

    def __init__(self, config: IAFConfig, *, rngs: nnx.Rngs) -> None:
        def layer(rngs: nnx.Rngs) -> Bijector:
            return Chain(Inverse(gated_layer(config, rngs)), Reverse(config.dim))

        bijector = Chain(ActNorm((config.dim,), rngs=rngs), ScanChain(layer, config.n_layers, rngs=rngs))
        super().__init__(config, StandardNormal((config.dim,), config.dtype), bijector, rngs=rngs)


def gated_layer(config: IAFConfig, rngs: nnx.Rngs) -> Autoregressive:
    """One transform (eq. 1), whose forward direction is base to data."""
    made = MADE(
        config.dim,
        Gate.n_params,
        config.hidden_dims,
        context_dim=config.context_dim,
        activation=config.activation,
        out_init=NEAR_ZERO,
        rngs=rngs,
    )
    return Autoregressive(Gate(), made, "sequential")  # a likelihood's gradient passes through the inverse
