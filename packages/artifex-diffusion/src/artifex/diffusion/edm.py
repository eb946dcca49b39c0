"""The elucidated diffusion model: noise of scale σ on a signal that stays.

    D(x; σ) = c_skip x + c_out F(c_in x; ¼ ln σ)                                                                 (1)
    c_skip = σ_d²/(σ² + σ_d²),   c_out = σ σ_d/√(σ² + σ_d²),   c_in = 1/√(σ² + σ_d²)                              (2)
    L = E (σ² + σ_d²)/(σ σ_d)² ‖D(x₀ + σ ε; σ) − x₀‖²,   ln σ ~ N(−1.2, 1.2²)                                     (3)
    σ_i = (σ_max^{1/ρ} + i/(n − 1) (σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ,   σ_n = 0                                      (4)
sampled by Heun's rule, 18 steps and 35 calls, or with noise stirred in (`Heun(churn=40)`).

References:
    [1] Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, arXiv:2206.00364
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx

from artifex.diffusion.denoising import DenoisingModel
from artifex.diffusion.grid import AnyGrid, Karras
from artifex.diffusion.networks import AnyNetwork, DenoisingConfig, with_dropout
from artifex.diffusion.prediction import Denoiser, EDMPrecondition
from artifex.diffusion.sampling import AnySolver, DataRange, check_labels
from artifex.diffusion.schedule import EDM as EDMSchedule
from artifex.diffusion.solver import Heun
from artifex.diffusion.unet import UNetConfig
from artifex.diffusion.weighting import AnyTimes, EDMWeight, LogNormalTimes, Weight, check_positive


@dataclass(frozen=True, kw_only=True)
class EDMConfig(DenoisingConfig):
    """The elucidated diffusion model."""

    network: AnyNetwork = field(default_factory=UNetConfig)
    schedule: EDMSchedule = field(default_factory=EDMSchedule)
    sigma_data: float = 0.5  # σ_d, the deviation of the data that the network sees
    times: AnyTimes = field(default_factory=LogNormalTimes)
    data_range: DataRange = (-1.0, 1.0)  # of the data; None leaves them as they are
    label_dropout: float = 0.0  # share of training rows that go without their label
    solver: AnySolver = field(default_factory=Heun)
    grid: AnyGrid = field(default_factory=Karras)
    steps: int = 18  # of sampling

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("EDMConfig", sigma_data=self.sigma_data)
        check_labels("EDMConfig", self.network, self.label_dropout, self.data_range)


class EDM(DenoisingModel):
    """The elucidated diffusion model, sampled by Heun's rule on its own grid (eq. 4)."""

    def denoiser(self, dropout: nnx.Rngs | None = None) -> Denoiser:
        """D (eq. 1, 2)."""
        return Denoiser(
            with_dropout(self.network, dropout), self.config.schedule, "x0", EDMPrecondition(self.config.sigma_data)
        )

    def weighting(self) -> Weight:
        """λ (eq. 3)."""
        return EDMWeight(sigma_data=self.config.sigma_data)
