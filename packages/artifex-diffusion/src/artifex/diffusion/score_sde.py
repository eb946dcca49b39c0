"""Score-based models through stochastic differential equations.

    dx = f(t) x dt + g(t) dw                             forward                                                 (1)
    dx = (f x − g² s) dt + g dw̄,  s = ∇ log p_t(x)        backward                                                (2)
    dx = (f x − ½ g² s) dt                               the flow with the same marginals                        (3)
    L  = E λ(t) ‖s_θ − ∇ log p(x_t|x₀)‖²,  λ = σ², which is the plain error of ε = −σ s                           (4)
The schedule is one of three: VP (β from 0.1 to 20), sub-VP, VE (σ from 0.01 to 50). With the weight `likelihood`,
λ = g²/2, and (4) bounds −log p(x) [2]. Samples follow (2), by a predictor with Langevin corrections (snr 0.16), and end
denoised; (3) gives exact likelihoods.

Differs: the network's input is divided by √(α² + σ²), without which VE has inputs of up to 50 deviations.

References:
    [1] Song et al., Score-Based Generative Modeling through SDEs, 2021, arXiv:2011.13456
    [2] Song et al., Maximum Likelihood Training of Score-Based Diffusion Models, 2021, arXiv:2101.09258
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax.numpy as jnp
from flax import nnx

from artifex.diffusion.denoising import FlowDensity
from artifex.diffusion.grid import AnyGrid, Linspace
from artifex.diffusion.networks import AnyNetwork, DenoisingConfig, with_dropout
from artifex.diffusion.prediction import Denoiser, Prediction, Scales, check_prediction
from artifex.diffusion.process import Level, Schedule
from artifex.diffusion.sampling import AnySolver, DataRange, check_labels
from artifex.diffusion.schedule import VE, SubVP, VPLinear
from artifex.diffusion.stochastic import PredictorCorrector
from artifex.diffusion.unet import UNetConfig
from artifex.diffusion.weighting import AnyTimes, AnyWeight, PlainWeight, UniformTimes, Weight


@dataclass(frozen=True, kw_only=True)
class ScoreSDEConfig(DenoisingConfig):
    """A score-based model in continuous time."""

    network: AnyNetwork = field(default_factory=UNetConfig)
    schedule: VPLinear | SubVP | VE = field(default_factory=VPLinear)
    prediction: Prediction = "eps"  # ε = −σ s
    weight: AnyWeight = field(default_factory=PlainWeight)  # or `likelihood`
    times: AnyTimes = field(default_factory=lambda: UniformTimes(t_min=1e-3))
    data_range: DataRange = (-1.0, 1.0)  # of the data; None leaves them as they are
    label_dropout: float = 0.0  # share of training rows that go without their label
    solver: AnySolver = field(default_factory=PredictorCorrector)
    grid: AnyGrid = field(default_factory=lambda: Linspace(t_min=1e-3))
    steps: int = 1000  # of sampling

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prediction("ScoreSDEConfig", self.prediction, self.schedule)
        check_labels("ScoreSDEConfig", self.network, self.label_dropout, self.data_range)


def unit_input(t: Level, schedule: Schedule) -> Scales:
    """The network's input at unit variance, for data of unit variance."""
    one = jnp.ones_like(t)
    into = 1 / jnp.sqrt(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2)
    return Scales(jnp.zeros_like(t), one, into, schedule.condition(t))


class ScoreSDE(FlowDensity):
    """A score-based model in continuous time: samples backwards (eq. 2), density along the flow (eq. 3)."""

    def denoiser(self, dropout: nnx.Rngs | None = None) -> Denoiser:
        """x₀ from x_t."""
        return Denoiser(with_dropout(self.network, dropout), self.config.schedule, self.config.prediction, unit_input)

    def weighting(self) -> Weight:
        """λ (eq. 4)."""
        return self.config.weight
