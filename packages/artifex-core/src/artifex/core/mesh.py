"""Meshes, and where each array lies on one.

A mesh has the axes data, fsdp and tensor. A batch is spread over data × fsdp. A parameter is placed by the first of

    1. a rule:  the plugin's PartitionSpec for its path,
    2. fsdp:    its largest free axis that divides, if it has at least `fsdp_min_weight_size` numbers,
    3. everywhere,
and a rule's parameter is spread over fsdp too where an axis is free. Averages and optimizer states lie like their
parameters. Families do not annotate layers.

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
    pipeline_parallel_size: int = 1  # devices that share the depth; needs artifex-scaling
    fsdp_enabled: bool = False
    fsdp_min_weight_size: int = 2**14  # numbers; smaller parameters lie everywhere

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (self.data_parallel_size, self.tensor_parallel_size, self.pipeline_parallel_size)
        if min(sizes) < 1 or self.fsdp_min_weight_size < 0:
            raise ValueError(f"ShardingConfig: expected sizes >= 1, got {sizes} and {self.fsdp_min_weight_size}.")
        if self.pipeline_parallel_size > 1:
            raise ValueError(
                f"ShardingConfig: expected pipeline_parallel_size 1, got {self.pipeline_parallel_size}. "
                "Pipelines come with artifex-scaling."
            )


def create_mesh(
    config: ShardingConfig | None = None,
    *,
    data: int | None = None,
    fsdp: int | None = None,
    tensor: int | None = None,
    devices: Sequence[Any] | None = None,
) -> Mesh:
    """A mesh by config, or by the sizes of its axes; the devices left over are not used.

    Raises:
        ConfigError: there are fewer devices than the mesh needs.
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
    if math.prod(sizes) > len(found):
        raise ConfigError(
            f"create_mesh: expected {math.prod(sizes)} devices for data {sizes[0]} x fsdp {sizes[1]} x tensor {sizes[2]}, "
            f"got {len(found)}. Lower a size; on CPU, JAX_NUM_CPU_DEVICES sets the number of devices."
        )
    return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * 3, devices=found[: math.prod(sizes)])


def replicated(mesh: Mesh) -> NamedSharding:
    """Everywhere."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over data × fsdp."""
    return NamedSharding(mesh, PartitionSpec(tuple(axis for axis in ("data", "fsdp") if axis in mesh.shape)))


def installed_rules() -> tuple[ShardingRule, ...]:
    """The rules of all plugins."""
    return tuple(rule for _, rule in records("sharding_rules"))


def param_shardings(
    mesh: Mesh, shapes: Shapes, rules: Sequence[ShardingRule], min_weight_size: int
) -> dict[str, NamedSharding]:
    """Where each parameter lies."""
    return {
        path: NamedSharding(mesh, _spec(mesh, path, leaf.shape, rules, min_weight_size)) for path, leaf in shapes.items()
    }


def _spec(
    mesh: Mesh, path: str, shape: tuple[int, ...], rules: Sequence[ShardingRule], min_weight_size: int
) -> PartitionSpec:
    """The first rule that fits, then fsdp on a free axis."""
    axes: list[str | None] = [None] * len(shape)
    for rule in rules:
        if re.search(rule.pattern, path) and _fits(mesh, shape, rule.spec):
            axes = list(rule.spec)
            break
    shards = mesh.shape.get("fsdp", 1)
    if shards > 1 and math.prod(shape) >= min_weight_size and "fsdp" not in axes:
        free = [i for i, axis in enumerate(axes) if axis is None and shape[i] % shards == 0]
        if free:
            axes[max(free, key=lambda i: shape[i])] = "fsdp"
    return PartitionSpec(*axes)


def _fits(mesh: Mesh, shape: tuple[int, ...], spec: Sequence[str | None]) -> bool:
    """Whether a rule's axes exist in the mesh and divide the shape."""
    if len(spec) != len(shape):
        return False
    return all(a is None or (a in mesh.shape and n % mesh.shape[a] == 0) for a, n in zip(spec, shape, strict=True))


def opt_shardings(
    optimizer: optax.GradientTransformation, state: Any, params: Mapping[str, NamedSharding], mesh: Mesh
) -> Any:
    """An optimizer's state placed like the parameters that it belongs to, and the rest everywhere."""
    return optax.tree_map_params(
        optimizer,
        lambda leaf, sharding: sharding if len(leaf.shape) >= len(sharding.spec) else replicated(mesh),
        state,
        dict(params),
        transform_non_params=lambda _: replicated(mesh),
    )


class PlacementRow(NamedTuple):
    """Where one array lies."""

    path: str
    shape: tuple[int, ...]
    spec: str
    bytes_per_device: int


def describe_placement(shapes: Mapping[str, Any], shardings: Mapping[str, NamedSharding]) -> list[PlacementRow]:
    """A row an array, for people to read."""
    rows = []
    for path, leaf in shapes.items():
        shard = shardings[path].shard_shape(leaf.shape)
        size = math.prod(shard) * leaf.dtype.itemsize
        rows.append(PlacementRow(path, leaf.shape, str(tuple(shardings[path].spec)), size))
    return rows
