"""The step as a compiled program over a flat list of arrays.

A call takes the state's leaves, which it may overwrite, the metrics so far, what the feed lays out, and the run's key;
it computes k steps. Dicts and modules are for tracing; at run time jit sees a list.

Metrics are one array, so that a row of them costs one transfer: a line (Σ weight · value, Σ weight) for each name, in
alphabetical order, and a last line (updates left out, of them directly before now).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from artifex.core.training.feed import Reader
from artifex.core.training.state import TrainState
from artifex.core.training.step import Plan, train_step

Metrics = Float[Array, "line 2"]
Program = Callable[[list[Array], Metrics, Any, Array], tuple[list[Array], Metrics]]


class Task(NamedTuple):
    """A plan and the reader of its batches: all that a program depends on, but for its arrays."""

    plan: Plan
    read: Reader

    def step(self, state: TrainState, arrays: Any, seed: UInt32[Array, " word"], index: Any = 0) -> Any:
        """One step on the reader's next batch: (state, sums, left out)."""
        key = jax.random.wrap_key_data(seed)
        # One more than the last objective's number: the data's stream is their own.
        data_key = jax.random.fold_in(jax.random.fold_in(key, state.step), len(self.plan.spec.objectives))
        return train_step(self.plan, state, self.read(arrays, state.step, index, data_key), key)


class Outline(NamedTuple):
    """What tracing a step tells about it."""

    names: tuple[str, ...]  # of the metrics
    convolves: bool

    def no_metrics(self) -> np.ndarray:
        """Metrics of nothing."""
        return np.zeros((len(self.names) + 1, 2), np.float32)


def outline(task: Task, state: TrainState, arrays: Any, seed: UInt32[Array, " word"]) -> Outline:
    """The metrics of a step and whether it convolves, without running it."""
    jaxpr, (_, sums, _) = jax.make_jaxpr(task.step, return_shape=True)(state, arrays, seed)
    return Outline(tuple(sorted(sums)), _convolves(jaxpr.jaxpr))


def compile_steps(task: Task, treedef: Any, k: int, shardings: Any = None) -> Program:
    """The program of k steps; `shardings` are those of the state's leaves and of the metrics, where a mesh has them."""
    pinned = {} if shardings is None else {"out_shardings": shardings}

    def body(arrays: Any, seed: Array, carry: tuple[TrainState, Metrics], index: Array | int) -> tuple[Any, None]:
        state, metrics = carry
        state, sums, left_out = task.step(state, arrays, seed, index)
        lines = metrics[:-1] + jnp.stack([sums[name] for name in sorted(sums)])
        last = jnp.stack([metrics[-1, 0] + left_out, state.bad.astype(jnp.float32)])
        return (state, jnp.concatenate([lines, last[None]])), None

    @functools.partial(jax.jit, donate_argnums=0, **pinned)
    def steps(leaves: list[Array], metrics: Metrics, arrays: Any, seed: Array) -> tuple[list[Array], Metrics]:
        carry = (jax.tree.unflatten(treedef, leaves), metrics)
        step = functools.partial(body, arrays, seed)
        carry, _ = step(carry, 0) if k == 1 else jax.lax.scan(step, carry, jnp.arange(k))
        return jax.tree.leaves(carry[0]), carry[1]

    return steps


def _convolves(jaxpr: jax.extend.core.Jaxpr) -> bool:
    """Whether a program or one of its parts convolves."""
    return any(
        equation.primitive.name == "conv_general_dilated" or any(map(_convolves, _parts(equation)))
        for equation in jaxpr.eqns
    )


def _parts(equation: Any) -> Iterator[jax.extend.core.Jaxpr]:
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, jax.extend.core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, jax.extend.core.Jaxpr):
                yield item
