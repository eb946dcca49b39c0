"""Meshes, and where each array lies on one.

A mesh has the axes data, fsdp and tensor. A batch is spread over data × fsdp. A parameter is placed by the first of

    1. a rule:  the first plugin's PartitionSpec for its path that divides its shape,
    2. fsdp:    its largest free axis that divides, if it has at least `fsdp_min_weight_size` numbers,
    3. everywhere,
and a rule's parameter is spread over fsdp too where an axis is free. Averages and optimizer states lie like their
parameters. Families do not annotate layers.

    config                                    data   fsdp   tensor
    data_parallel_size=8                         8      1        1
    data_parallel_size=8, fsdp_enabled=True      1      8        1
    create_mesh(data=2, fsdp=2, tensor=2)        2      2        2

References:
    [1] Zhao et al., PyTorch FSDP, 2023, arXiv:2304.11277
    [2] Shoeybi et al., Megatron-LM, 2019, arXiv:1909.08053
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from artifex.core.config import Config
from artifex.core.errors import ConfigError
from artifex.core.plugins.loader import records
from artifex.core.plugins.records import ShardingRule

AXES = ("data", "fsdp", "tensor")
Shapes = Mapping[str, jax.ShapeDtypeStruct]


@dataclass(frozen=True, kw_only=True)
class ShardingConfig(Config):
    """How a run is spread over devices, with the paper's five fields."""

    data_parallel_size: int = 1  # devices that share the batch; with fsdp_enabled they share the parameters too
    tensor_parallel_size: int = 1  # devices that share each layer, by the rules of plugins
    pipeline_parallel_size: int = 1  # devices that share the depth; 1 until a plugin brings pipelines
    fsdp_enabled: bool = False
    fsdp_min_weight_size: int = 2**14  # numbers, not bytes; smaller parameters lie everywhere

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (self.data_parallel_size, self.tensor_parallel_size, self.pipeline_parallel_size)
        if min(sizes) < 1 or self.fsdp_min_weight_size < 0:
            raise ValueError(
                f"ShardingConfig: expected parallel sizes >= 1 and fsdp_min_weight_size >= 0, got {sizes} and "
                f"{self.fsdp_min_weight_size}. A size of 1 does without."
            )
        if self.pipeline_parallel_size > 1:
            raise ValueError(
                f"ShardingConfig: expected pipeline_parallel_size 1, got {self.pipeline_parallel_size}. "
                "Layers are not split over devices yet."
            )


def create_mesh(
    config: ShardingConfig | None = None,
    *,
    data: int | None = None,
    fsdp: int | None = None,
    tensor: int | None = None,
    devices: Sequence[Any] | None = None,
) -> Mesh:
    """A mesh by config, or by the sizes of its axes, over the first devices; its axes are Auto.

    Raises:
        ConfigError: there are fewer devices than the mesh needs, or it would leave a process without any.
    """
    config = config or ShardingConfig()
    shared = config.data_parallel_size
    by_config = (1, shared) if config.fsdp_enabled else (shared, 1)
    sizes = (
        by_config[0] if data is None else data,
        by_config[1] if fsdp is None else fsdp,
        config.tensor_parallel_size if tensor is None else tensor,
    )
    found = list(jax.devices() if devices is None else devices)
    needed = math.prod(sizes)
    if min(sizes) < 1 or needed > len(found) or (jax.process_count() > 1 and needed != len(found)):
        raise ConfigError(
            f"create_mesh: expected data {sizes[0]} x fsdp {sizes[1]} x tensor {sizes[2]} to fit the devices, got "
            f"{len(found)} of them in {jax.process_count()} processes. Change a size (several processes use every "
            "device); on CPU, JAX_NUM_CPU_DEVICES sets the number of devices."
        )
    # By position: the keyword of the sizes was renamed. Explicit axes, the default, refuse row-parallel layers.
    return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * 3, devices=found[:needed])


def replicated(mesh: Mesh) -> NamedSharding:
    """Everywhere."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over data × fsdp."""
    return NamedSharding(mesh, PartitionSpec(tuple(axis for axis in ("data", "fsdp") if axis in mesh.shape)))


def installed_rules() -> tuple[ShardingRule, ...]:
    """The rules of all plugins."""
    return tuple(rule for _, rule in records("sharding_rules"))


class Choice(NamedTuple):
    """Where one parameter lies, and why."""

    spec: PartitionSpec
    reason: str


def param_shardings(
    mesh: Mesh, shapes: Shapes, rules: Sequence[ShardingRule], min_weight_size: int
) -> dict[str, NamedSharding]:
    """Where each parameter lies."""
    choices = param_choices(mesh, shapes, rules, min_weight_size)
    return {path: NamedSharding(mesh, choice.spec) for path, choice in choices.items()}


def param_choices(mesh: Mesh, shapes: Shapes, rules: Sequence[ShardingRule], min_weight_size: int) -> dict[str, Choice]:
    """Where each parameter lies, and why: which rule placed it, and which rules did not fit."""
    return {path: _choose(mesh, path, leaf.shape, rules, min_weight_size) for path, leaf in shapes.items()}


def _choose(
    mesh: Mesh, path: str, shape: tuple[int, ...], rules: Sequence[ShardingRule], min_weight_size: int
) -> Choice:
    """The first rule that fits, then fsdp on a free axis."""
    axes: list[str | None] = [None] * len(shape)
    reasons: list[str] = []
    for rule in (rule for rule in rules if re.search(rule.pattern, path)):
        misfit = _misfit(mesh, shape, rule.spec)
        reasons.append(f"rule {rule.pattern!r}" + (f" not used: {misfit}" if misfit else ""))
        if not misfit:
            axes = [axis if axis is not None and mesh.shape[axis] > 1 else None for axis in rule.spec]
            break
    shards = mesh.shape.get("fsdp", 1)
    if shards > 1 and "fsdp" not in axes:
        free = [i for i, axis in enumerate(axes) if axis is None and shape[i] and shape[i] % shards == 0]
        if math.prod(shape) < min_weight_size:
            reasons.append(f"fewer than {min_weight_size} numbers")
        elif not free:
            reasons.append(f"no free axis divides by fsdp {shards}")
        else:
            axes[max(free, key=lambda i: shape[i])] = "fsdp"
            reasons.append("fsdp")
    while axes and axes[-1] is None:
        axes.pop()
    return Choice(PartitionSpec(*axes), "; ".join(reasons) or "everywhere")


def _misfit(mesh: Mesh, shape: tuple[int, ...], spec: Sequence[str | None]) -> str:
    """Why a rule cannot place an array of this shape; empty if it can."""
    if len(spec) != len(shape):
        return f"it has {len(spec)} axes, the parameter {len(shape)}"
    for axis, size in zip(spec, shape, strict=True):
        if axis is not None and axis not in mesh.shape:
            return f"the mesh has no axis {axis!r}"
        if axis is not None and size % mesh.shape[axis]:
            return f"{size} does not divide by {axis} {mesh.shape[axis]}"
    return ""


def opt_shardings(
    optimizer: optax.GradientTransformation, state: Any, params: Mapping[str, NamedSharding], mesh: Mesh
) -> Any:
    """An optimizer's state placed like the parameters that it belongs to, and the rest everywhere."""

    def place(leaf: Any, like: NamedSharding) -> NamedSharding:
        # Factored moments (Adafactor) belong to a parameter and have another shape.
        axes = (*like.spec, *[None] * (len(leaf.shape) - len(like.spec)))
        return replicated(mesh) if _misfit(mesh, leaf.shape, axes) else like

    return optax.tree_map_params(optimizer, place, state, dict(params), transform_non_params=lambda _: replicated(mesh))


class PlacementRow(NamedTuple):
    """Where one array lies."""

    path: str
    shape: tuple[int, ...]
    spec: str
    bytes_per_device: int
    reason: str = ""


def describe_placement(
    shapes: Mapping[str, Any], shardings: Mapping[str, NamedSharding], choices: Mapping[str, Choice] | None = None
) -> list[PlacementRow]:
    """A row an array, for people to read; with `choices`, why it lies there."""
    rows = []
    for path, leaf in shapes.items():
        size = math.prod(shardings[path].shard_shape(leaf.shape)) * leaf.dtype.itemsize
        reason = "" if choices is None else choices[path].reason
        rows.append(PlacementRow(path, leaf.shape, str(tuple(shardings[path].spec)), size, reason))
    return rows
