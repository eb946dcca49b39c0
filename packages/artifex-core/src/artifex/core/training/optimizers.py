"""Optimizers and schedules from their configs.

    rate(n) = peak · min(1, (n + 1) / warmup) · (e + (1 − e) f(t)),    t = max(0, s − h) / (1 − h)               (1)
    f = 1 (constant),  ½ (1 + cos π t) (cosine),  1 − t (linear)
with s = (n − warmup) / (steps − warmup), h the share that is held and e the share of the peak at the end.

References:
    [1] Kingma & Ba, Adam, 2014, arXiv:1412.6980
    [2] Loshchilov & Hutter, Decoupled Weight Decay Regularization, 2017, arXiv:1711.05101
    [3] Loshchilov & Hutter, SGDR: cosine schedules, 2016, arXiv:1608.03983
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from artifex.core.errors import did_you_mean
from artifex.core.training.config import OptimizerConfig, TrainerConfig
from artifex.core.training.objective import TrainingSpec


def learning_rate(config: OptimizerConfig, steps: int, count: Any) -> Float[Array, ""]:
    """The learning rate of update `count` out of `steps` (eq. 1)."""
    warm = jnp.minimum(1.0, (count + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    share = jnp.clip((count - config.warmup_steps) / max(steps - config.warmup_steps, 1), 0, 1)
    t = jnp.maximum(share - config.hold, 0) / (1 - config.hold)
    shapes = {"constant": jnp.ones_like(t), "cosine": 0.5 * (1 + jnp.cos(jnp.pi * t)), "linear": 1 - t}
    return config.learning_rate * warm * (config.final + (1 - config.final) * shapes[config.schedule])


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The optax transformation that the config describes, for a run of `steps` updates."""
    parts = [_direction(config)]
    if config.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay, _decays if config.decay == "matrices" else None))
    if config.schedule == "constant" and not config.warmup_steps:
        parts.append(optax.scale(-config.learning_rate))
    else:
        parts.append(optax.scale_by_schedule(lambda count: -learning_rate(config, steps, count)))
    return optax.chain(*parts)


def _direction(config: OptimizerConfig) -> optax.GradientTransformation:
    """The step of unit learning rate."""
    b1, b2 = config.betas
    if config.name in ("adam", "adamw"):
        return optax.scale_by_adam(b1=b1, b2=b2, eps=config.eps)
    if config.name == "lion":
        return optax.scale_by_lion(b1=b1, b2=b2)
    if config.name == "adafactor":
        return optax.scale_by_factored_rms()
    trace = [optax.trace(decay=config.momentum)] if config.momentum else []
    if config.name == "rmsprop":
        return optax.chain(optax.scale_by_rms(decay=b2, eps=config.eps), *trace)
    return optax.chain(optax.identity(), *trace)


def _decays(params: optax.Params) -> optax.Params:
    """True for weight matrices and kernels; offsets and scales have one axis or none."""
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) >= 2, params)


def objective_optimizers(
    spec: TrainingSpec, config: TrainerConfig, given: Mapping[str, optax.GradientTransformation] | None
) -> dict[str, optax.GradientTransformation]:
    """The optimizer of each objective: the one given, else its own config, else the run's.

    Raises:
        ValueError: an optimizer names no objective of the model.
    """
    names = [objective.name for objective in spec.objectives]
    own = {entry.objective: entry for entry in config.optimizers}
    unknown = sorted((own.keys() | (given or {}).keys()) - set(names))
    if unknown:
        raise ValueError(
            f"Trainer: expected optimizers for the objectives {names}, got one for {unknown}."
            f"{did_you_mean(unknown[0], names)} Rename it or leave it out."
        )
    made = {
        objective.name: make_optimizer(
            own.get(objective.name, config.optimizer), updates(config.steps, objective.repeat, objective.every)
        )
        for objective in spec.objectives
        if objective.name not in (given or {})
    }
    return {name: (given or {}).get(name) or made[name] for name in names}


def updates(steps: int, repeat: int, every: int) -> int:
    """Updates that an objective makes in a run of `steps`."""
    return -(-steps // every) * repeat
