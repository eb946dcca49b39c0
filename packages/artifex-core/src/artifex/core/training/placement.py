"""Where a run's arrays lie: on one device, or spread over a mesh by the rules of `mesh`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from artifex.core.errors import ConfigError
from artifex.core.leaves import as_like, as_plain
from artifex.core.mesh import (
    PlacementRow,
    ShardingConfig,
    batch_sharding,
    create_mesh,
    describe_placement,
    installed_rules,
    opt_shardings,
    param_choices,
    param_shardings,
    replicated,
)
from artifex.core.training.config import TrainerConfig
from artifex.core.training.feed import Places
from artifex.core.training.state import TrainState, pick
from artifex.core.training.step import Plan


class Placement(NamedTuple):
    """The mesh of a run, and a sharding for each array; all None on one device."""

    mesh: Mesh | None = None
    state: TrainState | None = None  # of NamedShardings
    data: NamedSharding | None = None  # of data in memory, replicated: each device gathers its own rows
    batches: NamedSharding | None = None  # of streamed batches [k, row, ...]
    rows: NamedSharding | None = None  # of a step's batch
    fsdp_min_weight_size: int = 0

    def describe(self, state: TrainState) -> list[PlacementRow]:
        """A row a parameter: where it lies, and why."""
        params: Any = state.params
        if self.mesh is None or self.state is None:
            return [PlacementRow(path, leaf.shape, "one device", leaf.nbytes) for path, leaf in params.items()]
        shardings: Any = self.state.params
        choices = param_choices(self.mesh, params, installed_rules(), self.fsdp_min_weight_size)
        return describe_placement(params, shardings, choices)

    def places(self) -> Places:
        """Shardings of what a feed hands over."""
        return Places(self.data, self.batches, self.rows)

    def program(self) -> Any:
        """Shardings of what a compiled step returns."""
        return None if self.mesh is None else (jax.tree.leaves(self.state), self.data)

    def active(self) -> contextlib.AbstractContextManager[Any]:
        """Trace and call under the mesh, where there is one."""
        return contextlib.nullcontext() if self.mesh is None else jax.set_mesh(self.mesh)

    def whole(self, arrays: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The arrays themselves, or where several processes hold parts of them, whole ones on this process's device."""
        if jax.process_count() == 1 or self.mesh is None:
            return arrays
        plain = {path: as_plain(array) for path, array in arrays.items()}
        everywhere = jax.jit(lambda parts: parts, out_shardings=replicated(self.mesh))(plain)
        return {path: as_like(np.asarray(everywhere[path]), array) for path, array in arrays.items()}

    def build(self, initial: Callable[..., TrainState], *args: Any) -> TrainState:
        """The state that `initial(*args)` traces, made where it belongs."""
        with self.active():
            return jax.jit(initial, out_shardings=self.state)(*args)


def check_rows(config: TrainerConfig, devices: int) -> None:
    """Refuse a batch, or parts of one, that devices cannot share equally: each would compute all of it."""
    if config.batch_size % (config.grad_accum * devices):
        raise ConfigError(
            f"trainer.batch_size: expected a multiple of grad_accum {config.grad_accum} x {devices} devices, got "
            f"{config.batch_size}. Change one of the three."
        )


def place(mesh: Mesh | ShardingConfig | None, plan: Plan, state: TrainState) -> Placement:
    """The placement of a state, given by its shapes."""
    if mesh is None:
        return Placement()
    config = mesh if isinstance(mesh, ShardingConfig) else ShardingConfig()
    devices = create_mesh(config) if isinstance(mesh, ShardingConfig) else mesh
    everywhere: Any = replicated(devices)
    shapes: Any = state.params
    params: Any = param_shardings(devices, shapes, installed_rules(), config.fsdp_min_weight_size)
    spread: dict[str, Any] = {name: pick(params, paths) for name, paths in plan.owned.moved.items()}
    optimizers: Any = {
        name: opt_shardings(tx, state.opt_state[name], spread[name], devices) for name, tx in plan.optimizers.items()
    }
    elsewhere: Any = dict.fromkeys(state.variables, everywhere)
    shardings = TrainState(
        step=everywhere,
        bad=everywhere,
        params=params,
        variables=elsewhere,
        opt_state=optimizers,
        ema=pick(params, state.ema),
    )
    rows = batch_sharding(devices)
    check_rows(plan.config, math.prod(devices.shape[axis] for axis in rows.spec[0]))
    batches = NamedSharding(devices, jax.sharding.PartitionSpec(None, *rows.spec))
    return Placement(devices, shardings, everywhere, batches, rows, config.fsdp_min_weight_size)
