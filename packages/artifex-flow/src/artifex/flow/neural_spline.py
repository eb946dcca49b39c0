"""Neural spline flow.

    layer:  z = T(L U P x),    T a coupling or an autoregressive transform by rational-quadratic splines          (1)
    log p(x) = log N(z; 0, I) + Σ over layers of (Σᵢ log Uᵢᵢ + Σᵢ log spline slopeᵢ)                              (2)
P is a permutation drawn once, or a reversal; the LU map starts as the identity and so do the splines: an untrained flow
only permutes. With few couplings a drawn P may let a number pass through all of them; a reversal moves each number in
every other layer. In a coupling the numbers that pass through are moved by splines of their own. The maps are discrete
steps, not the continuous flow of `cnf`.

Differs:
    [1] drops units of the residual networks at 0.25; here nothing is dropped, so that log p of a row is one number.
    [1] puts residual blocks into the autoregressive network; here it is a perceptron.

References:
    [1] Durkan et al., Neural Spline Flows, 2019, arXiv:1906.04032
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from flax import nnx

from artifex.core.config import Config
from artifex.core.nn.masked import MADE
from artifex.core.nn.mlp import Activation
from artifex.flow.autoregressive import Autoregressive, Solve
from artifex.flow.base import StandardNormal
from artifex.flow.bijector import Bijector, Chain, ScanChain
from artifex.flow.couple import Coupling, Pointwise, Swap, passing
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.linear import LULinear, Permute, Reverse
from artifex.flow.networks import AnyNet, Conditioner, ResNetConfig
from artifex.flow.spline import Spline

Mixing = Literal["lu", "reverse_lu", "permute", "reverse"]  # lu permutes, reverse_lu reverses, before the LU map


@dataclass(frozen=True, kw_only=True)
class CouplingConfig(Config, tag="coupling"):
    """One half moves the other; both directions take one pass."""

    net: AnyNet = field(default_factory=ResNetConfig)
    own_splines: bool = True  # of the numbers that pass through


@dataclass(frozen=True, kw_only=True)
class AutoregressiveConfig(Config, tag="autoregressive"):
    """Each number is moved as those before it say; samples take sweeps."""

    hidden_dims: tuple[int, ...] = (256, 256)
    activation: Activation = "relu"
    solve: Solve = "jacobi"


@dataclass(frozen=True, kw_only=True)
class NeuralSplineConfig(FlowConfig):
    """A neural spline flow of vectors."""

    dim: int = 2  # numbers in x
    n_layers: int = 10
    bins: int = 8
    bound: float = 3.0  # the splines act on [−bound, bound]; standardise the data
    transform: CouplingConfig | AutoregressiveConfig = field(default_factory=CouplingConfig)
    mixing: Mixing = "lu"  # before each layer; reverse swaps the parts of a coupling


class NeuralSpline(Flow):
    """A neural spline flow."""

    def __init__(self, config: NeuralSplineConfig, *, rngs: nnx.Rngs) -> None:
        def layer(rngs: nnx.Rngs) -> Bijector:
            return Chain(*mixing(config, rngs), spline_layer(config, rngs))

        bijector = ScanChain(layer, config.n_layers, rngs=rngs)
        super().__init__(config, StandardNormal((config.dim,), config.dtype), bijector, rngs=rngs)


def mixing(config: NeuralSplineConfig, rngs: nnx.Rngs) -> list[Bijector]:
    """The linear maps of a layer (eq. 1)."""
    if config.mixing in ("reverse", "reverse_lu"):
        masked = isinstance(config.transform, AutoregressiveConfig)
        order: Bijector = Reverse(config.dim) if masked else Swap(config.dim)
    else:
        order = Permute(config.dim, rngs=rngs)
    return [order, LULinear(config.dim, rngs=rngs)] if config.mixing in ("lu", "reverse_lu") else [order]


def spline_layer(config: NeuralSplineConfig, rngs: nnx.Rngs) -> Bijector:
    """T of a layer (eq. 1)."""
    spline = Spline(config.bins, config.bound)
    if isinstance(config.transform, AutoregressiveConfig):
        return autoregressive_layer(config.transform, spline, (config.dim, config.context_dim), rngs=rngs)
    return coupling_layer(config.transform, spline, (config.dim, config.context_dim), rngs=rngs)


def coupling_layer(config: CouplingConfig, spline: Spline, sizes: tuple[int, int], *, rngs: nnx.Rngs) -> Coupling:
    """A coupling; `sizes` are those of x and of the context."""
    dim, context_dim = sizes
    split = passing(dim)
    net = Conditioner(config.net, (split, dim - split), spline.n_params, context_dim=context_dim, rngs=rngs)
    own = Pointwise(split, spline, rngs=rngs) if config.own_splines else None
    return Coupling(dim, spline, net, own)


def autoregressive_layer(
    config: AutoregressiveConfig, spline: Spline, sizes: tuple[int, int], *, rngs: nnx.Rngs
) -> Autoregressive:
    """An autoregressive transform; `sizes` are those of x and of the context."""
    dim, context_dim = sizes
    net = MADE(
        dim, spline.n_params, config.hidden_dims, context_dim=context_dim, activation=config.activation, rngs=rngs
    )
    return Autoregressive(spline, net, config.solve)
