"""Flow matching along straight lines.

    x_t = (1 − t) x₀ + t ε,    t = 0 data, t = 1 noise                                                           (1)
    L = E ‖v_θ(x_t, t) − (ε − x₀)‖²                                                                              (2)
    dx/dt = v_θ(x, t),  from t = 1 to t = 0                                                                      (3)
    t → k t/(1 + (k − 1) t)     a shift k > 1 spends more steps near the noise [3]                               (4)
The same field gives exact likelihoods. Times are uniform, or logit-normal [3].

Differs: the papers run time from noise to data; here 1 is noise, in every family.

References:
    [1] Lipman et al., Flow Matching for Generative Modeling, 2023, arXiv:2210.02747
    [2] Liu, Gong & Liu, Flow Straight and Fast, 2022, arXiv:2209.03003
    [3] Esser et al., Scaling Rectified Flow Transformers, 2024, arXiv:2403.03206
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx

from artifex.diffusion.denoising import FlowDensity
from artifex.diffusion.grid import AnyGrid, Trailing
from artifex.diffusion.networks import AnyNetwork, DenoisingConfig, with_dropout
from artifex.diffusion.prediction import Denoiser
from artifex.diffusion.sampling import AnySolver, DataRange, check_labels
from artifex.diffusion.schedule import RectifiedFlow
from artifex.diffusion.solver import Heun
from artifex.diffusion.unet import UNetConfig
from artifex.diffusion.weighting import AnyTimes, PlainWeight, UniformTimes, Weight


@dataclass(frozen=True, kw_only=True)
class FlowMatchingConfig(DenoisingConfig):
    """A velocity field along straight lines."""

    network: AnyNetwork = field(default_factory=UNetConfig)
    schedule: RectifiedFlow = field(default_factory=RectifiedFlow)
    times: AnyTimes = field(default_factory=lambda: UniformTimes(t_min=0.0))  # or logit_normal
    data_range: DataRange = (-1.0, 1.0)  # of the data; None leaves them as they are
    label_dropout: float = 0.0  # share of training rows that go without their label
    solver: AnySolver = field(default_factory=lambda: Heun(slope="velocity"))
    grid: AnyGrid = field(default_factory=Trailing)
    steps: int = 25  # of sampling

    def __post_init__(self) -> None:
        super().__post_init__()
        check_labels("FlowMatchingConfig", self.network, self.label_dropout, self.data_range)


class FlowMatching(FlowDensity):
    """A velocity field along straight lines: samples and density along it (eq. 3)."""

    def denoiser(self, dropout: nnx.Rngs | None = None) -> Denoiser:
        """x₀ = x_t − t v from x_t."""
        return Denoiser(with_dropout(self.network, dropout), self.config.schedule, "velocity")

    def weighting(self) -> Weight:
        """That of the squared error of the velocity (eq. 2)."""
        return PlainWeight(of="velocity")
