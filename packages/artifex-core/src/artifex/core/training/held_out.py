"""Losses on data that training does not see.

L = Σ_b w_b L_b / Σ_b w_b       over all batches b of the source, the last one shorter; w_b its weight or its rows
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Key

from artifex.core.data.source import Source
from artifex.core.leaves import merge
from artifex.core.training.objective import StepContext
from artifex.core.training.step import Plan, check_losses

Totals = dict[str, Any]  # pairs of a weighted sum and its weight, by name


@functools.lru_cache(maxsize=8)
def _compiled(plan: Plan) -> Callable[..., Totals]:
    @jax.jit
    def losses(arrays: Mapping[str, Array], batch: Mapping[str, Array], step: Array, key: Key[Array, ""]) -> Totals:
        terms: Totals = {}
        for objective in plan.spec.objectives:
            model = merge(plan.layout, arrays)
            model.eval()
            context = StepContext(step, plan.config.steps, nnx.Rngs(key))
            values = check_losses(objective.loss(model, batch, context), objective)
            weight = values.pop("weight", len(batch["x"]))
            terms |= {plan.metric(objective, name): (value * weight, weight) for name, value in values.items()}
        return terms

    return losses


def held_out_losses(plan: Plan, arrays: Mapping[str, Array], source: Source, step: int) -> dict[str, float]:
    """Every loss term on the whole source, in evaluation mode, as `held_out/<name>`."""
    size = min(plan.config.batch_size, len(source))
    sums: dict[str, np.ndarray] = {}
    for first in range(0, len(source), size):
        batch = source.take(np.arange(first, min(first + size, len(source))))
        key = jax.random.fold_in(jax.random.key(plan.config.seed), first)
        terms = _compiled(plan)(arrays, batch, step, key)
        for name, pair in jax.device_get(terms).items():
            sums[name] = sums.get(name, np.zeros(2)) + np.array(pair, float)
    return {f"held_out/{name}": float(total / weight) for name, (total, weight) in sums.items()}
