"""What training carries from step to step.

    step        updates done                                         int32
    bad         updates left out in a row, because something was not finite
    params      {path: array}    every nnx.Param of the model
    variables   {path: array}    everything else: running statistics, buffers, random streams
    opt_state   {objective: optax state over the parameters that it moves}
    ema         {path: float32 array}    averaged parameters, empty without averaging

Randomness is not in it: keys are a function of seed, step, objective, repeat and part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Int

from artifex.core.leaves import flatten, select
from artifex.core.training.objective import TrainingSpec


class TrainState(NamedTuple):
    """Everything that a step reads and writes."""

    step: Int[Array, ""]
    bad: Int[Array, ""]
    params: dict[str, Array]
    variables: dict[str, Array]
    opt_state: dict[str, optax.OptState]
    ema: dict[str, Array]


class Ownership(NamedTuple):
    """Which parameters each objective moves, and which are averaged."""

    moved: dict[str, frozenset[str]]
    averaged: frozenset[str]


def check_accumulation(spec: TrainingSpec, grad_accum: int) -> None:
    """Refuse parts of a batch where a loss is no mean over examples."""
    for objective in spec.objectives:
        if grad_accum > 1 and not objective.additive:
            raise ValueError(
                f"Trainer: expected grad_accum 1 for objective {objective.name!r}, got {grad_accum}. Its loss is no "
                "mean over examples, so the losses of parts do not add up to it."
            )


def ownership(model: nnx.Module, spec: TrainingSpec, *, average: bool) -> Ownership:
    """Paths by objective.

    Raises:
        ValueError: two objectives share a name, a filter chooses nothing, or a parameter is moved by no objective.
    """
    names = [objective.name for objective in spec.objectives]
    if len(set(names)) != len(names) or not names:
        raise ValueError(f"Trainer: expected objectives with different names, got {names}. Rename one of them.")
    params = select(model, nnx.Param)
    moved = {objective.name: select(model, objective.wrt) for objective in spec.objectives}
    for name, paths in moved.items():
        if not paths:
            raise ValueError(
                f"Trainer: expected objective {name!r} to move at least one parameter, got a filter 'wrt' that chooses "
                f"none of {sorted(params)[:5]}. Mend the filter."
            )
    frozen = select(model, spec.frozen) if spec.frozen != () else frozenset()
    orphans = sorted(params - frozen - frozenset().union(*moved.values()))
    if orphans:
        raise ValueError(
            f"Trainer: expected every parameter to be moved by an objective or declared frozen, got {len(orphans)} "
            f"that are neither: {orphans[:5]}. Widen an objective's 'wrt', or name them in TrainingSpec(frozen=...)."
        )
    return Ownership(moved, select(model, spec.ema) & params if average else frozenset())


def initial_state(
    model: nnx.Module, owned: Ownership, optimizers: Mapping[str, optax.GradientTransformation]
) -> TrainState:
    """The state before the first step; its arrays are copies of the model's. Traceable."""
    _, arrays = flatten(model)
    params = pick(arrays, select(model, nnx.Param))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        bad=jnp.zeros((), jnp.int32),
        params=params,
        variables={path: array for path, array in arrays.items() if path not in params},
        opt_state={name: tx.init(pick(params, owned.moved[name])) for name, tx in optimizers.items()},
        ema={path: params[path].astype(jnp.float32) for path in sorted(owned.averaged)},
    )


def pick(arrays: Mapping[str, Array], paths: Iterable[str]) -> dict[str, Array]:
    """The arrays at these paths, in order of path."""
    return {path: arrays[path] for path in sorted(paths)}


def named(state: TrainState) -> dict[str, Any]:
    """The state's arrays by one flat name each, for files: `params/encoder/kernel`, `opt_state/loss/0/mu/…`."""
    keyed, _ = jax.tree_util.tree_flatten_with_path(state)
    return {"/".join(_part(key) for key in keys): leaf for keys, leaf in keyed}


def unnamed(arrays: Mapping[str, Any], like: TrainState) -> TrainState:
    """The inverse of `named`, in the structure of `like`."""
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in named(like)])


def _part(key: Any) -> str:
    for kind, attribute in (
        (jax.tree_util.DictKey, "key"),
        (jax.tree_util.GetAttrKey, "name"),
        (jax.tree_util.SequenceKey, "idx"),
    ):
        if isinstance(key, kind):
            return str(getattr(key, attribute))
    return str(key)
