"""Conditional flow: p(x|y) with the condition in every layer and in the base.

    log p(x|y) = log N(f(x; y); μ(y), σ(y)²) + log |det ∂f/∂x|                                                   (1)
    layer:  z = T(L U P x; y),    T a coupling by rational-quadratic splines                                      (2)
y is a vector, or a class, which enters as one-hot; μ and log σ are affine in it.

Differs:
    [1] couples by affine maps; splines here, which contain nearly the same maps within their box.

References:
    [1] Winkler et al., Learning Likelihoods with Conditional Normalizing Flows, 2019, arXiv:1912.00042
    [2] Durkan et al., Neural Spline Flows, 2019, arXiv:1906.04032
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from flax import nnx

from artifex.core.data.spec import DataSpec
from artifex.flow.base import ConditionalNormal
from artifex.flow.bijector import Bijector, Chain, ScanChain
from artifex.flow.couple import Coupling, passing
from artifex.flow.flow import Flow, FlowConfig
from artifex.flow.linear import LULinear, Permute
from artifex.flow.networks import AnyNet, Conditioner, ResNetConfig
from artifex.flow.spline import Spline


@dataclass(frozen=True, kw_only=True)
class ConditionalFlowConfig(FlowConfig):
    """A flow of vectors given a condition."""

    context_dim: int = 1  # numbers in the condition y, or its classes
    dim: int = 2  # numbers in x
    n_layers: int = 6
    bins: int = 8
    bound: float = 3.0  # the splines act on [−bound, bound]; standardise the data
    net: AnyNet = field(default_factory=lambda: ResNetConfig(width=128))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.context_dim < 1:
            raise ValueError(
                f"ConditionalFlowConfig: expected 'context_dim' >= 1, got {self.context_dim}. "
                "Use 'neural_spline' where there is no condition."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """As many numbers in x and y as the data have."""
        width = spec.n_classes or math.prod(spec.condition_shape or (1,))
        return cls(dim=math.prod(spec.shape), context_dim=width)


class ConditionalFlow(Flow):
    """A flow of vectors given a condition."""

    conditions: ClassVar[tuple[str, ...]] = ("y",)

    def __init__(self, config: ConditionalFlowConfig, *, rngs: nnx.Rngs) -> None:
        def layer(rngs: nnx.Rngs) -> Bijector:
            mixing = (Permute(config.dim, rngs=rngs), LULinear(config.dim, rngs=rngs))
            return Chain(*mixing, conditional_coupling(config, rngs))

        bijector = ScanChain(layer, config.n_layers, rngs=rngs)
        # Any, because this base cannot go without a context, as a `Base` may.
        base: Any = ConditionalNormal((config.dim,), config.context_dim, rngs=rngs)  # eq. 1
        super().__init__(config, base, bijector, rngs=rngs)


def conditional_coupling(config: ConditionalFlowConfig, rngs: nnx.Rngs) -> Coupling:
    """T of a layer (eq. 2)."""
    spline = Spline(config.bins, config.bound)
    split = passing(config.dim)
    sizes = (split, config.dim - split)
    net = Conditioner(config.net, sizes, spline.n_params, context_dim=config.context_dim, rngs=rngs)
    return Coupling(config.dim, spline, net)
