"""How a training run goes: configs of the trainer and of its optimizers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from artifex.core.config import Config

Policy = Literal["raise", "skip", "off"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Config):
    """One optax optimizer with its learning-rate schedule."""

    name: Literal["adam", "adamw", "sgd", "rmsprop", "lion", "adafactor"] = "adam"
    learning_rate: float = 1e-3  # the peak
    schedule: Literal["constant", "cosine", "linear"] = "constant"  # after warm-up and hold
    hold: float = 0.0  # share of the updates at the peak before the schedule falls
    final: float = 0.0  # where it ends, as a share of the peak
    warmup_steps: int = 0  # updates over which the rate rises from 0 to its peak
    betas: tuple[float, float] = (0.9, 0.999)  # decay of the first and second moment
    eps: float = 1e-8  # added to the root of the second moment
    momentum: float = 0.0  # of sgd and rmsprop
    weight_decay: float = 0.0  # decoupled, of adamw and lion
    decay: Literal["matrices", "all"] = "matrices"  # what decays; matrices are arrays of two axes and more
    clip_norm: float | None = None  # largest norm of a whole gradient

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate < 0 or self.warmup_steps < 0 or self.weight_decay < 0:
            raise ValueError(
                "OptimizerConfig: expected 'learning_rate', 'warmup_steps' and 'weight_decay' >= 0, got "
                f"{self.learning_rate}, {self.warmup_steps} and {self.weight_decay}. Use 0 to switch one off."
            )
        if not 0 <= self.hold < 1 or self.final < 0:
            raise ValueError(
                f"OptimizerConfig: expected 0 <= 'hold' < 1 and 'final' >= 0, got {self.hold} and {self.final}. "
                "Both are shares: hold=0.5 stays at the peak for the first half."
            )
        if self.weight_decay and self.name not in ("adamw", "lion"):
            raise ValueError(
                f"OptimizerConfig: expected no 'weight_decay' with {self.name!r}, got {self.weight_decay}. "
                "Use name='adamw', whose decay is apart from the gradient."
            )
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ValueError(f"OptimizerConfig: expected 'clip_norm' > 0, got {self.clip_norm}. Leave it out for none.")


@dataclass(frozen=True, kw_only=True)
class ObjectiveOptimizer(OptimizerConfig):
    """The optimizer of one objective of a model that has several."""

    objective: str  # its name in the model's training_spec


@dataclass(frozen=True, kw_only=True)
class TrainerConfig(Config):
    """One training run."""

    steps: int = 1000  # updates in all
    batch_size: int = 128  # examples a step, over all devices
    seed: int = 0  # of the order of the data and of all noise
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    optimizers: tuple[ObjectiveOptimizer, ...] = ()  # where objectives differ; the others take `optimizer`
    grad_accum: int = 1  # parts of a batch whose gradients are summed before an update
    steps_per_call: int = 1  # steps that one dispatch computes
    ema_decay: float | None = None  # of the averaged parameters; none are kept when None
    compute_dtype: Literal["float32", "bfloat16", "float16"] | None = None  # of the layers; parameters stay as they are
    nonfinite: Policy = "raise"  # a loss or gradient that is not finite: stop, leave the update out, or do not look
    log_every: int = 50  # steps between two rows of metrics
    save_every: int | None = None  # steps between checkpoints; None saves at the end only
    keep: int = 3  # checkpoints kept
    sample_every: int | None = None  # steps between pictures of samples
    evaluate_every: int | None = None  # steps between losses on held-out data

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = {
            name: getattr(self, name) for name in ("batch_size", "grad_accum", "steps_per_call", "log_every", "keep")
        } | {
            name: getattr(self, name)
            for name in ("save_every", "sample_every", "evaluate_every")
            if getattr(self, name) is not None
        }
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"TrainerConfig: expected {name!r} >= 1, got {value}.")
        if self.steps < 0:
            raise ValueError(f"TrainerConfig: expected 'steps' >= 0, got {self.steps}.")
        if self.batch_size % self.grad_accum:
            raise ValueError(
                f"TrainerConfig: expected 'grad_accum' to divide 'batch_size', got {self.grad_accum} and "
                f"{self.batch_size}. Every part of a batch holds the same number of examples."
            )
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ValueError(f"TrainerConfig: expected 0 <= 'ema_decay' < 1, got {self.ema_decay}.")
