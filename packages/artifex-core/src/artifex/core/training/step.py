"""One training step as a pure function of arrays.

For each objective, in order, on the batch x of step s:

    key   = fold(seed, s, objective, repeat, part)                                                             (1)
    g     = Σ_m w_m ∇L(x_m) / Σ_m w_m           over the parts m of the batch, w_m the loss's "weight"         (2)
    θ, o  ← optimizer(θ, o, g)                  where L and g are finite; otherwise nothing of the step stays
    θ̄    ← d θ̄ + (1 − d) θ,  d = min(decay, (1 + s) / (10 + s))                                               (3)

The module is put together while tracing only; at run time there are arrays and one compiled program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from artifex.core.leaves import Layout, flatten, merge, select
from artifex.core.protocols import Batch, Losses
from artifex.core.training.config import TrainerConfig
from artifex.core.training.objective import Objective, StepContext, TrainingSpec
from artifex.core.training.state import Ownership, TrainState, pick

Sums = dict[str, Float[Array, "2"]]  # by metric: Σ weight · value, Σ weight


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything about a step that is known before it is traced; equal only to itself."""

    layout: Layout
    spec: TrainingSpec
    config: TrainerConfig
    owned: Ownership
    optimizers: Mapping[str, optax.GradientTransformation]
    unroll: bool  # loops hold convolutions, which XLA runs slowly inside a loop on CPU

    def metric(self, objective: Objective, name: str) -> str:
        """The name under which a model with one objective or several logs a loss term."""
        return name if len(self.spec.objectives) == 1 else f"{objective.name}/{name}"


class Pass(NamedTuple):
    """One objective on one part of a batch."""

    plan: Plan
    objective: Objective
    step: Int[Array, ""]

    def context(self, key: Key[Array, ""]) -> StepContext:
        """The context that a loss sees; its streams are made here, inside the trace that uses them."""
        return StepContext(self.step, self.plan.config.steps, nnx.Rngs(key))


def train_step(plan: Plan, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, Sums, Array]:
    """The state after one step, the step's metrics, and how many of its updates were left out."""
    sums: Sums = {}
    left_out = jnp.zeros((), jnp.int32)
    step_key = jax.random.fold_in(key, state.step)
    for index, objective in enumerate(plan.spec.objectives):
        update = functools.partial(_objective_updates, Pass(plan, objective, state.step), batch=batch)
        run = functools.partial(update, key=jax.random.fold_in(step_key, index))
        if objective.every > 1:
            state, terms, missed = _every(objective.every, run, state)
        else:
            state, terms, missed = run(state)
        sums |= terms
        left_out += missed
    state = state._replace(ema=_average(plan, state), step=state.step + 1)
    return state, sums, left_out


def _every(n: int, run: Callable[[TrainState], Any], state: TrainState) -> Any:
    """`run` on each n-th step, and on the others nothing, with metrics of weight zero."""
    _, terms, missed = jax.eval_shape(run, state)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (terms, missed))
    return jax.lax.cond(state.step % n == 0, run, lambda state: (state, *nothing), state)


def _objective_updates(
    this: Pass, state: TrainState, *, batch: Batch, key: Key[Array, ""]
) -> tuple[TrainState, Sums, Int[Array, ""]]:
    """All updates that one objective makes in a step: `repeat` of them."""
    repeat = this.objective.repeat
    feeds = strided(batch, repeat) if this.objective.feed == "split" else None
    sums: Sums = {}
    left_out = jnp.zeros((), jnp.int32)
    for r in range(repeat):
        part = batch if feeds is None else jax.tree.map(lambda x, r=r: x[r], feeds)
        state, terms, good = _update(this, state, part, jax.random.fold_in(key, r))
        sums = {name: sums.get(name, 0) + term for name, term in terms.items()}
        left_out += ~good
    return state, sums, left_out


def strided(batch: Batch, n: int) -> dict[str, Array]:
    """The batch in n parts, [part, row, ...], row i in part i mod n, so that a sharded batch stays where it is."""
    rows = len(next(iter(batch.values())))
    if rows % n:
        raise ValueError(f"Trainer: expected a batch that divides into {n} equal parts, got {rows} rows.")
    return {name: x.reshape(rows // n, n, *x.shape[1:]).swapaxes(0, 1) for name, x in batch.items()}


def _update(
    this: Pass, state: TrainState, batch: Batch, key: Key[Array, ""]
) -> tuple[TrainState, Sums, Bool[Array, ""]]:
    """One optimizer update; where loss or gradient is not finite, the old state (eq. 2)."""
    plan, name = this.plan, this.objective.name
    grads, variables, sums = _gradients(this, state, batch, key)

    def apply() -> TrainState:
        moved = pick(state.params, plan.owned.moved[name])
        updates, opt = plan.optimizers[name].update(grads, state.opt_state[name], moved)
        changed: Any = optax.apply_updates(moved, updates)
        if this.objective.project is not None:
            changed = jax.tree.map(this.objective.project, changed)
        return state._replace(
            params=state.params | changed,
            variables=variables,
            opt_state=state.opt_state | {name: opt},
            bad=jnp.zeros((), jnp.int32),
        )

    if plan.config.nonfinite == "off":
        return apply(), sums, jnp.array(True)
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(g.astype(jnp.float32))) for g in jax.tree.leaves(grads)))
    good = jnp.isfinite(norm) & jnp.isfinite(sums[plan.metric(this.objective, "loss")][0])
    state = jax.lax.cond(good, apply, lambda: state._replace(bad=state.bad + 1))
    # `where` selects: a NaN times a weight of zero would still be NaN.
    sums = jax.tree.map(lambda term: jnp.where(good, term, jnp.zeros_like(term)), sums)
    sums[plan.metric(this.objective, "grad_norm")] = jnp.where(good, jnp.array([norm, 1.0], jnp.float32), 0.0)
    return state, sums, good


def _gradients(
    this: Pass, state: TrainState, batch: Batch, key: Key[Array, ""]
) -> tuple[dict[str, Array], dict[str, Array], Sums]:
    """Gradient, new variables and metrics of a batch, computed in `grad_accum` parts (eq. 2)."""
    parts = this.plan.config.grad_accum
    if parts == 1:
        grads, variables, losses = _part_gradient(this, state, batch, jax.random.fold_in(key, 0))
        return grads, variables, _weighted(this, losses)

    def add(carry: Any, item: Any) -> tuple[Any, None]:
        variables, total = carry
        part, index = item
        part_key = jax.random.fold_in(key, index)
        grads, variables, losses = _part_gradient(this, state._replace(variables=variables), part, part_key)
        weight = _weight(losses)
        scaled = jax.tree.map(lambda g: g * weight.astype(g.dtype), grads)
        return (variables, jax.tree.map(jnp.add, total, (scaled, weight, _weighted(this, losses)))), None

    items = (strided(batch, parts), jnp.arange(parts))
    first = jax.tree.map(lambda x: x[0], items)
    shapes = jax.eval_shape(lambda: _part_gradient(this, state, first[0], key))
    sums = jax.eval_shape(lambda: _weighted(this, {k: jnp.zeros(v.shape, v.dtype) for k, v in shapes[2].items()}))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (shapes[0], jnp.zeros((), jnp.float32), sums))
    start = (state.variables, zeros)
    (variables, (grads, weight, sums)), _ = jax.lax.scan(add, start, items, unroll=parts if this.plan.unroll else 1)
    return jax.tree.map(lambda g: g / weight.astype(g.dtype), grads), variables, sums


def _part_gradient(
    this: Pass, state: TrainState, batch: Batch, key: Key[Array, ""]
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Gradient, new variables and loss terms of one part of a batch."""
    plan, objective = this.plan, this.objective
    moved = pick(state.params, plan.owned.moved[objective.name])
    still = {path: array for path, array in state.params.items() if path not in moved}
    variables = state.variables
    if objective.prepare is not None:
        model = training_module(plan, {**state.params, **variables})
        objective.prepare(model, batch, this.context(jax.random.fold_in(key, 1)))
        variables = harvest(model, variables)

    def loss(moved: dict[str, Array]) -> tuple[Array, Any]:
        model = training_module(plan, {**moved, **still, **variables})
        losses = check_losses(objective.loss(model, batch, this.context(key)), objective)
        return losses["loss"], (harvest(model, variables), losses)

    grads, (variables, losses) = jax.grad(loss, has_aux=True)(moved)
    return grads, variables, losses


def check_losses(losses: Losses, objective: Objective) -> dict[str, Array]:
    """The loss terms as a dict with a scalar under "loss"."""
    terms = {name: jnp.asarray(value) for name, value in losses.items()}
    if "loss" not in terms or terms["loss"].shape != ():
        got = {name: value.shape for name, value in terms.items()}
        raise ValueError(
            f"Objective {objective.name!r}: expected a scalar under 'loss', got {got}. Return the mean that is lowered."
        )
    return {name: value for name, value in terms.items() if value.shape == ()}


def training_module(plan: Plan, arrays: Mapping[str, Array]) -> Any:
    """The model in training mode; layers that name no dtype compute in the run's `compute_dtype`."""
    model = merge(plan.layout, arrays)
    model.train()
    if plan.config.compute_dtype is not None:
        dtype = jnp.dtype(plan.config.compute_dtype)
        for _, module in nnx.iter_modules(model):
            if vars(module).get("dtype", dtype) is None:
                setattr(module, "dtype", dtype)  # noqa: B010 - only some modules have it
    return model


def harvest(model: nnx.Module, variables: Mapping[str, Array]) -> dict[str, Array]:
    """The model's variables after a forward pass, of the dtypes that they had.

    Raises:
        ValueError: the pass made or removed a Variable.
    """
    _, arrays = flatten(model)
    left = select(model, nnx.Intermediate)
    params = select(model, nnx.Param)
    names = arrays.keys() - left - params
    if names != variables.keys():
        raise ValueError(
            f"Trainer: expected a forward pass to keep the model's Variables, got changes at "
            f"{sorted(names ^ variables.keys())[:5]}. Make every Variable in __init__."
        )
    return {path: _of_dtype(arrays[path], old) for path, old in variables.items()}


def _of_dtype(new: Array, old: Array) -> Array:
    return new if new.dtype == old.dtype else new.astype(old.dtype)


def _weight(losses: Losses) -> Float[Array, ""]:
    return jax.lax.stop_gradient(jnp.asarray(losses.get("weight", 1.0), jnp.float32))


def _weighted(this: Pass, losses: Losses) -> Sums:
    """Each loss term with its weight, ready to be added up."""
    weight = _weight(losses)
    terms = {name: value for name, value in losses.items() if name != "weight"}
    return {
        this.plan.metric(this.objective, name): jnp.stack([value.astype(jnp.float32) * weight, weight])
        for name, value in terms.items()
    }


def _average(plan: Plan, state: TrainState) -> dict[str, Array]:
    """The averaged parameters after this step (eq. 3)."""
    if plan.config.ema_decay is None:
        return state.ema
    decay = jnp.minimum(plan.config.ema_decay, (1 + state.step) / (10 + state.step)).astype(jnp.float32)
    return {path: old + (1 - decay) * (state.params[path] - old) for path, old in state.ema.items()}
