"""Denoising diffusion probabilistic models.

    q(x_i|x₀) = N(√ᾱ_i x₀, (1 − ᾱ_i) I),  i = 1 … T                                                              (1)
    L_simple  = E ‖ε − ε_θ(x_i, i)‖²                                                                             (2)
    p(x_{i−1}|x_i) = N(mean of q(x_{i−1}|x_i, x₀ = D(x_i)), v I)                                                 (3)
    v: β̃_i (fixed_small), β_i (fixed_large), or learned between their logs [2]                                   (4)
    L_hybrid  = L_simple + 0.001 L_vlb, L_vlb = T · E KL_i with the mean held fixed [2]                          (5)
`improved_ddpm` is the preset of [2]: cosine schedule, learned variance, L_hybrid, and estimates of x₀ clipped while
sampling, because the last step of that schedule divides errors of ε by √(1 − β) = 0.03.

Differs: L_simple is a mean over entries, as all published code has it; L_vlb is in nats an entry, where the code of [2]
has bits (a factor of log 2); the average of the weights (0.9999 in [1]) is the trainer's, TrainerConfig.ema_decay.

References:
    [1] Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239
    [2] Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, arXiv:2102.09672
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.prob import noise
from artifex.core.prob.gaussian import over_event
from artifex.core.prob.noise import RowRngs, stream_key
from artifex.core.protocols import Batch
from artifex.core.training.rows import masked_mean
from artifex.diffusion.bound import Levels, bound_term, prior_kl, rows_like, step_tables
from artifex.diffusion.constraint import static_threshold
from artifex.diffusion.grid import AnyGrid, Trailing
from artifex.diffusion.networks import AnyNetwork, DenoisingConfig, make_network, network_for, range_of, with_dropout
from artifex.diffusion.prediction import Condition, Data, Denoiser, Prediction, Time, check_prediction, convert, wide
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
    log_scale,
    outward,
    solver_named,
)
from artifex.diffusion.schedule import Discrete
from artifex.diffusion.solver import Solver
from artifex.diffusion.stochastic import Ancestral, LearnedAncestral
from artifex.diffusion.unet import UNetConfig
from artifex.diffusion.weighting import (
    AnyWeight,
    DenoisingLosses,
    DenoisingOutputs,
    PlainWeight,
    UniformTimes,
    perturb,
    weighted_loss,
)

PerRow = Float[Array, " batch"]


@dataclass(frozen=True, kw_only=True)
class DDPMConfig(DenoisingConfig):
    """Diffusion in T steps."""

    network: AnyNetwork = field(default_factory=UNetConfig)
    schedule: Discrete = field(default_factory=Discrete)
    prediction: Prediction = "eps"
    weight: AnyWeight = field(default_factory=PlainWeight)
    variance: Literal["fixed_small", "fixed_large", "learned"] = "fixed_large"
    vlb_weight: float = 0.001  # of L_vlb, with a learned variance
    data_range: DataRange = (-1.0, 1.0)  # of the data; None leaves them as they are
    levels: int | None = 256  # of the data, for the bound; None for continuous data
    label_dropout: float = 0.0  # share of training rows that go without their label
    solver: AnySolver | None = None  # None: ancestral, with the variance above
    grid: AnyGrid = field(default_factory=Trailing)
    steps: int | None = None  # of sampling; None: all T
    clip_x0: bool = False  # keep each estimate of x₀ within [−1, 1] while sampling

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prediction("DDPMConfig", self.prediction, self.schedule)
        check_labels("DDPMConfig", self.network, self.label_dropout, self.data_range)
        depth = self.network.shape[-1]
        expected = 2 * depth if self.variance == "learned" else depth
        if (self.network.out_channels or depth) != expected:
            raise ValueError(
                f"DDPMConfig: expected 'network' with {expected} output channels for variance {self.variance!r}, got "
                f"{self.network.out_channels or depth}. Set network.out_channels to {expected}."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape, range and levels of the data, and a network that suits them."""
        limits = range_of(spec)
        return cls(network=network_for(spec), data_range=limits, levels=spec.levels, clip_x0=limits is not None)


class DDPMOutputs(DenoisingOutputs, total=False):
    """The forward pass, with what a learned variance needs."""

    fraction: Data  # v of eq. 4


def improved_ddpm(network: AnyNetwork, **changes: Any) -> DDPMConfig:
    """The preset of [2]: cosine schedule, learned variance, L_hybrid, clipped estimates of x₀."""
    wide = network.replace(out_channels=2 * network.shape[-1])
    preset = {"schedule": Discrete(rule="cosine"), "variance": "learned", "clip_x0": True}
    return DDPMConfig(**{"network": wide, **preset, **changes})


class DDPM(GenerativeModel):
    """Diffusion in T steps."""

    def __init__(self, config: DDPMConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.network = make_network(config.network, rngs=rngs)
        self.deterministic = False  # nnx's switch: True drops nothing
        condition_on_labels(self, config.network.n_classes)

    def denoiser(self) -> Denoiser:
        """x₀ from x_i, by the part of the network that predicts it."""
        return Denoiser(self.mean_network, self.config.schedule, self.config.prediction)

    def mean_network(self, xt: Data, c: PerRow, y: Condition | None = None) -> Data:
        """The network without what it says about the variance."""
        return self.network(xt, c, y)[..., : xt.shape[-1]]

    def fraction(self, xt: Data, t: Time, y: Condition | None = None) -> Data:
        """v in [0, 1]: where the log variance lies between the fixed ones (eq. 4)."""
        t = jnp.broadcast_to(wide(t, xt), xt.shape[:1])
        said = self.network(xt, self.config.schedule.condition(t), y)[..., xt.shape[-1] :]
        return 0.5 * (said.astype(xt.dtype) + 1)

    def __call__(self, x: Data, *, y: Condition | None = None, rngs: nnx.Rngs | None = None) -> DDPMOutputs:
        """Noisy data at steps drawn uniformly (eq. 1), and what the network says."""
        rngs, schedule = self.rngs_or_own(rngs), self.config.schedule
        given, dropout = labels(self.config, y, len(x)), None
        if not self.deterministic:
            given, dropout = drop_labels(self.config, given, rngs), rngs
        x0 = inward(x, self.config.data_range)
        t, xt = perturb(x0, schedule, UniformTimes(), rngs)
        said = with_dropout(self.network, dropout)(xt, schedule.condition(t), given).astype(x.dtype)
        outputs = DDPMOutputs(t=t, x0=x0, xt=xt, prediction=said[..., : x.shape[-1]])
        if self.config.variance == "learned":
            outputs["fraction"] = 0.5 * (said[..., x.shape[-1] :] + 1)
        return outputs

    def loss_fn(self, batch: Batch, outputs: DDPMOutputs) -> DenoisingLosses:
        """L_simple (eq. 2), and with a learned variance its share of the bound (eq. 5)."""
        losses = weighted_loss(self.denoiser(), outputs, self.config.weight, batch)
        if self.config.variance != "learned":
            return losses
        vlb = self.config.schedule.n_steps * self._terms(outputs).reshape(len(batch["x"]), -1).mean(-1)
        return DenoisingLosses(
            loss=losses["loss"] + self.config.vlb_weight * masked_mean(vlb, batch)[0],
            error=losses["error"],
            weight=losses["weight"],
        )

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
        """Samples by ancestral sampling (eq. 3), or by another solver and number of steps."""
        rngs, config = self.rngs_or_own(rngs), self.config
        fewer = config.steps if steps is None else steps
        grid = config.grid(config.schedule, config.schedule.n_steps if fewer is None else fewer)
        denoise = labelled_denoiser(config, self.denoiser(), y, guidance, n_samples)
        if config.clip_x0:
            denoise = static_threshold(denoise)
        shape = (n_samples, *config.network.shape)
        x = draw(denoise, grid, solver_named(solver, self.solver(y, n_samples)), shape, xt=xt, rngs=rngs)
        return outward(x, config.data_range)

    def solver(self, y: Condition | None, n: int) -> Solver:
        """The config's solver, or ancestral sampling with the config's variance."""
        if self.config.solver is not None:
            return self.config.solver
        if self.config.variance == "learned":
            given = labels(self.config, y, n)
            return LearnedAncestral(lambda xt, t: self.fraction(xt, t, given))
        return Ancestral(variance=self.config.variance)

    def scores(self, x: Data, *, y: Condition | None = None, rngs: nnx.Rngs) -> Mapping[str, PerRow]:
        """The variational bound of log p(x) in nats, with one draw of noise a step."""
        config, tables = self.config, step_tables(self.config.schedule)
        x0, given = inward(x, config.data_range), labels(config, y, len(x))
        key, n = stream_key(rngs, "noise"), config.schedule.n_steps

        def add(total: PerRow, index: Array) -> tuple[PerRow, None]:
            t = jnp.broadcast_to((index + 1) / n, x.shape[:1]).astype(x.dtype)
            eps = noise.normal(RowRngs(jax.random.fold_in(key, index)), x.shape, x.dtype)
            alpha, sigma = config.schedule.alpha(t), config.schedule.sigma(t)
            xt = rows_like(alpha, x) * x0 + rows_like(sigma, x) * eps
            terms = bound_term(x0, xt, *self.step_of(xt, t, given), (index, tables, self._levels()))
            return total + over_event(terms), None

        total, _ = jax.lax.scan(add, prior_kl(x0, config.schedule), jnp.arange(n))
        change = 0.0 if config.levels else log_scale(config.network.shape, config.data_range)
        return {"elbo": change - total}

    def step_of(self, xt: Data, t: PerRow, y: Condition | None = None) -> tuple[Data, Array]:
        """Mean and log variance of p(x_{i−1}|x_i) (eq. 3, 4)."""
        x0 = self.denoiser()(xt, t, y)
        fraction = self.fraction(xt, t, y) if self.config.variance == "learned" else None
        return self._gaussian(x0, xt, t, fraction)

    def _gaussian(self, x0: Data, xt: Data, t: PerRow, fraction: Data | None) -> tuple[Data, Array]:
        tables = step_tables(self.config.schedule)
        of_x, of_x0, small, large = (rows_like(jnp.asarray(c, xt.dtype)[self._index(t)], xt) for c in tables)
        fixed = small if self.config.variance == "fixed_small" else large
        log_var = fixed if fraction is None else fraction * large + (1 - fraction) * small  # eq. 4
        return of_x * xt + of_x0 * x0, log_var

    def _terms(self, outputs: DDPMOutputs) -> Data:
        """The bound's term at each row's step, with the mean held fixed, in nats (eq. 5)."""
        xt, t, prediction = outputs["xt"], outputs["t"], jax.lax.stop_gradient(outputs["prediction"])
        x0 = convert(prediction, self.config.prediction, "x0", xt, t, self.config.schedule)
        mean, log_var = self._gaussian(x0, xt, t, outputs.get("fraction"))
        tables = step_tables(self.config.schedule)
        return bound_term(outputs["x0"], xt, mean, log_var, (self._index(t), tables, self._levels()))

    def _index(self, t: PerRow) -> Int[Array, " batch"]:
        return jnp.round(t * self.config.schedule.n_steps).astype(jnp.int32) - 1

    def _levels(self) -> Levels | None:
        return None if self.config.levels is None else Levels(self.config.levels)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, range or number of classes."""
        check_data(self.config, spec)
