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
from jaxtyping import Array, Float

from artifex.core.config import ModelConfig
from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.protocols import Batch
from artifex.diffusion.grid import AnyGrid, Karras
from artifex.diffusion.networks import AnyNetwork, make_network, with_dropout
from artifex.diffusion.prediction import Condition, Data, Denoiser, EDMPrecondition
from artifex.diffusion.sampling import (
    AnySolver,
    DataRange,
    check_data,
    check_labels,
    condition_on_labels,
    draw,
    drop_labels,
    inward,
    labelled_denoiser,
    labels,
    outward,
    solver_named,
)
from artifex.diffusion.schedule import EDM as EDMSchedule
from artifex.diffusion.solver import Heun, Solver
from artifex.diffusion.unet import UNetConfig
from artifex.diffusion.weighting import (
    AnyTimes,
    DenoisingLosses,
    DenoisingOutputs,
    EDMWeight,
    LogNormalTimes,
    check_positive,
    corrupt,
    weighted_loss,
)


@dataclass(frozen=True, kw_only=True)
class EDMConfig(ModelConfig):
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


class EDM(GenerativeModel):
    """The elucidated diffusion model."""

    def __init__(self, config: EDMConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.network = make_network(config.network, rngs=rngs)
        self.deterministic = False  # nnx's switch: True drops nothing
        condition_on_labels(self, config.network.n_classes)

    def denoiser(self, dropout: nnx.Rngs | None = None) -> Denoiser:
        """D (eq. 1, 2)."""
        return Denoiser(
            with_dropout(self.network, dropout), self.config.schedule, "x0", EDMPrecondition(self.config.sigma_data)
        )

    def __call__(self, x: Data, *, y: Condition | None = None, rngs: nnx.Rngs | None = None) -> DenoisingOutputs:
        """Noisy data at random levels, and D of them."""
        rngs = self.rngs_or_own(rngs)
        given, dropout = labels(self.config, y, len(x)), None
        if not self.deterministic:
            given, dropout = drop_labels(self.config, given, rngs), rngs
        return corrupt(self.denoiser(dropout), inward(x, self.config.data_range), self.config.times, rngs, given)

    def loss_fn(self, batch: Batch, outputs: DenoisingOutputs) -> DenoisingLosses:
        """The weighted error of D (eq. 3)."""
        return weighted_loss(self.denoiser(), outputs, EDMWeight(sigma_data=self.config.sigma_data), batch)

    def generate(
        self,
        n_samples: int = 1,
        *,
        y: Condition | None = None,
        guidance: float | Float[Array, ""] | None = None,
        solver: Solver | str | None = None,
        steps: int | None = None,
        xt: Data | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Data:
        """Samples by Heun's rule on the grid of eq. 4, or by another solver."""
        rngs, config = self.rngs_or_own(rngs), self.config
        grid = config.grid(config.schedule, config.steps if steps is None else steps)
        denoise = labelled_denoiser(config, self.denoiser(), y, guidance, n_samples)
        shape = (n_samples, *config.network.shape)
        x = draw(denoise, grid, solver_named(solver, config.solver), shape, xt=xt, rngs=rngs)
        return outward(x, config.data_range)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, range or number of classes."""
        check_data(self.config, spec)
