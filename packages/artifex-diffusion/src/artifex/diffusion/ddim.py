"""Denoising diffusion implicit models.

    x_{i−1} = √ᾱ_{i−1} D(x_i) + √(1 − ᾱ_{i−1} − s²) ε_θ(x_i) + s z,    D the estimate of x₀                        (1)
    s(η) = η √((1 − ᾱ_{i−1})/(1 − ᾱ_i)) √(1 − ᾱ_i/ᾱ_{i−1})                                                        (2)
    inversion: the same step upwards, with ε_θ asked at the place it leads to                                    (3)
Training is that of DDPM; sampling takes a few of the T steps, and with η = 0 maps noise to data one to one, so that
data can be mapped back. Inversion is exact to first order in the step.

References:
    [1] Song, Meng & Ermon, Denoising Diffusion Implicit Models, 2021, arXiv:2010.02502
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx

from artifex.core.config import Config
from artifex.diffusion.denoising import DenoisingModel
from artifex.diffusion.grid import AnyGrid, Grid, Trailing
from artifex.diffusion.networks import AnyNetwork, DenoisingConfig, with_dropout
from artifex.diffusion.prediction import Condition, Data, Denoiser, Prediction, check_prediction
from artifex.diffusion.sampling import DataRange, check_labels, inward, labelled_denoiser
from artifex.diffusion.schedule import Discrete
from artifex.diffusion.solver import DDIMSolver, Linear, Rows, Solver, ends, solve
from artifex.diffusion.unet import UNetConfig
from artifex.diffusion.weighting import AnyWeight, PlainWeight, Times, UniformTimes, Weight


@dataclass(frozen=True, kw_only=True)
class DDIMConfig(DenoisingConfig):
    """Diffusion in T steps, sampled in a few."""

    network: AnyNetwork = field(default_factory=UNetConfig)
    schedule: Discrete = field(default_factory=Discrete)
    prediction: Prediction = "eps"
    weight: AnyWeight = field(default_factory=PlainWeight)
    data_range: DataRange = (-1.0, 1.0)  # of the data; None leaves them as they are
    label_dropout: float = 0.0  # share of training rows that go without their label
    eta: float = 0.0  # η
    grid: AnyGrid = field(default_factory=Trailing)
    steps: int = 50  # of sampling

    def __post_init__(self) -> None:
        super().__post_init__()
        DDIMSolver(eta=self.eta)
        check_prediction("DDIMConfig", self.prediction, self.schedule)
        check_labels("DDIMConfig", self.network, self.label_dropout, self.data_range)


class DDIM(DenoisingModel):
    """Diffusion in T steps, sampled in a few."""

    def denoiser(self, dropout: nnx.Rngs | None = None) -> Denoiser:
        """x₀ from x_i."""
        return Denoiser(with_dropout(self.network, dropout), self.config.schedule, self.config.prediction)

    def invert(self, x: Data, *, y: Condition | None = None, steps: int | None = None) -> Data:
        """x_T from which `generate(xt=...)` of as many steps comes back to x (eq. 3)."""
        config = self.config
        grid = config.grid(config.schedule, config.steps if steps is None else steps)
        denoise = labelled_denoiser(config, self.denoiser(), y, None, len(x))
        return solve(denoise, inward(x, config.data_range), grid, DDIMInversion())

    def weighting(self) -> Weight:
        """That of the config."""
        return self.config.weight

    def times(self) -> Times:
        """Steps, all with equal chances."""
        return UniformTimes()

    def solver(self) -> Solver:
        """The implicit process (eq. 1, 2)."""
        return DDIMSolver(eta=self.config.eta)


@dataclass(frozen=True, kw_only=True)
class DDIMInversion(Linear, Config):
    """DDIM's step from the data to the noise, along the grid backwards (eq. 3)."""

    def coefficients(self, grid: Grid) -> Rows:
        """Rows in noise form; ε is that at the noisier end, because without noise there is none to ask for."""
        alpha, sigma, alpha1, sigma1 = (column[::-1] for column in ends(grid))
        gain = alpha / alpha1
        return Rows(grid.t[-2::-1], 1 / sigma, -alpha / sigma, gain, (sigma - gain * sigma1)[:, None])
