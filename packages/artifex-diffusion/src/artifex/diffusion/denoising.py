"""What the models with one denoiser share: noisy data, their loss, and samples, with or without labels.

    x_t = α(t) x₀ + σ(t) ε,   t ~ times,   loss = mean w(t) ‖target − prediction‖²                                (1)
    sample: from noise through the places of a grid, by a solver                                                (2)
A paper adds its config and how its network is read: `denoiser`, and what an error weighs: `weighting`.

Reference:
    Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, arXiv:2206.00364, table 1
"""

from __future__ import annotations

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.protocols import Batch
from artifex.diffusion.likelihood import log_prob
from artifex.diffusion.networks import make_network
from artifex.diffusion.prediction import Condition, Data, Denoiser
from artifex.diffusion.sampling import (
    check_data,
    condition_on_labels,
    draw,
    drop_labels,
    inward,
    labelled_denoiser,
    labels,
    log_scale,
    outward,
    solver_named,
)
from artifex.diffusion.solver import Solver
from artifex.diffusion.weighting import DenoisingLosses, DenoisingOutputs, Times, Weight, corrupt, weighted_loss


class DenoisingModel(GenerativeModel):
    """A network that predicts data, noise or velocity.

    The config has `network`, `schedule`, `times`, `data_range`, `label_dropout`, and for samples `solver`, `grid` and
    `steps`.
    """

    def __init__(self, config: Any, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.network = make_network(config.network, rngs=rngs)
        self.deterministic = False  # nnx's switch: True drops nothing
        condition_on_labels(self, config.network.n_classes)

    def denoiser(self, dropout: nnx.Rngs | None = None) -> Denoiser:
        """x₀ from x_t; with `dropout` for training."""
        raise NotImplementedError

    def weighting(self) -> Weight:
        """w of eq. 1."""
        raise NotImplementedError

    def times(self) -> Times:
        """What draws the times of eq. 1."""
        return self.config.times

    def solver(self) -> Solver:
        """What samples where no other solver is asked for (eq. 2)."""
        return self.config.solver

    def __call__(self, x: Data, *, y: Condition | None = None, rngs: nnx.Rngs | None = None) -> DenoisingOutputs:
        """Noisy data at random times (eq. 1), and the network's prediction."""
        rngs = self.rngs_or_own(rngs)
        given, dropout = labels(self.config, y, len(x)), None
        if not self.deterministic:
            given, dropout = drop_labels(self.config, given, rngs), rngs
        return corrupt(self.denoiser(dropout), inward(x, self.config.data_range), self.times(), rngs, given)

    def loss_fn(self, batch: Batch, outputs: DenoisingOutputs) -> DenoisingLosses:
        """The weighted error of the prediction (eq. 1)."""
        return weighted_loss(self.denoiser(), outputs, self.weighting(), batch)

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
        """Samples by the config's solver or another one (eq. 2), from noise or from `xt`."""
        rngs, config = self.rngs_or_own(rngs), self.config
        grid = config.grid(config.schedule, config.steps if steps is None else steps)
        denoise = labelled_denoiser(config, self.denoiser(), y, guidance, n_samples)
        shape = (n_samples, *config.network.shape)
        x = draw(denoise, grid, solver_named(solver, self.solver()), shape, xt=xt, rngs=rngs)
        return outward(x, config.data_range)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, range or number of classes."""
        check_data(self.config, spec)


class FlowDensity(DenoisingModel):
    """A `DenoisingModel` in continuous time, also a `Likelihood`."""

    def log_prob(self, x: Data, *, y: Condition | None = None, steps: int = 100) -> Float[Array, " batch"]:
        """log p(x) along the probability flow in nats, with the noise of the earliest time left in."""
        config = self.config
        denoise = labelled_denoiser(config, self.denoiser(), y, None, len(x))
        found = log_prob(denoise, inward(x, config.data_range), config.schedule, steps=steps)
        return found + log_scale(config.network.shape, config.data_range)
