"""Meshes and placement, on eight devices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from artifex.core.errors import ConfigError
from artifex.core.mesh import (
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
from artifex.core.plugins.records import ShardingRule


def shape(*sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, np.float32)


MLP = {
    "layers/0/kernel": shape(784, 512),
    "layers/0/bias": shape(512),
    "layers/1/kernel": shape(512, 512),
    "layers/1/bias": shape(512),
    "out/kernel": shape(512, 10),
}
COLUMNS = ShardingRule(r"layers/\d+/kernel", (None, "tensor"))


def nbytes_share(shapes: dict[str, jax.ShapeDtypeStruct], shardings: dict[str, NamedSharding]) -> float:
    """Bytes on one device over all bytes."""
    rows = describe_placement(shapes, shardings)
    return sum(row.bytes_per_device for row in rows) / sum(np.prod(s.shape) * 4 for s in shapes.values())


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (ShardingConfig(), (1, 1, 1)),
        (ShardingConfig(data_parallel_size=8), (8, 1, 1)),
        (ShardingConfig(data_parallel_size=8, fsdp_enabled=True), (1, 8, 1)),
        (ShardingConfig(data_parallel_size=4, tensor_parallel_size=2), (4, 1, 2)),
    ],
)
def test_config_says_the_sizes_of_the_axes(config: ShardingConfig, sizes: tuple[int, ...]) -> None:
    mesh = create_mesh(config)
    assert tuple(mesh.shape.values()) == sizes
    assert mesh.axis_types == (AxisType.Auto,) * 3


def test_sizes_may_be_given_axis_by_axis() -> None:
    mesh = create_mesh(data=2, fsdp=2, tensor=2)
    assert mesh.shape == {"data": 2, "fsdp": 2, "tensor": 2}
    assert sorted(d.id for d in mesh.devices.flat) == list(range(8))


def test_too_few_devices_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data 4 x fsdp 1 x tensor 4 to fit the devices, got 8 of them"):
        create_mesh(data=4, tensor=4)
    with pytest.raises(ConfigError, match="got 2 of them"):
        create_mesh(data=4, devices=jax.devices()[:2])
    with pytest.raises(ConfigError, match="data 0 x"):
        create_mesh(data=0)


def test_config_has_the_five_fields_and_refuses_what_has_no_meaning() -> None:
    assert list(ShardingConfig().to_dict()) == [
        "data_parallel_size",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "fsdp_enabled",
        "fsdp_min_weight_size",
    ]
    with pytest.raises(ValueError, match=r"expected parallel sizes >= 1 .* got \(0, 1, 1\)"):
        ShardingConfig(data_parallel_size=0)
    with pytest.raises(ValueError, match="expected pipeline_parallel_size 1, got 2"):
        ShardingConfig(pipeline_parallel_size=2)


def test_rows_of_a_batch_lie_over_data_and_fsdp() -> None:
    mesh = create_mesh(data=2, fsdp=2, tensor=2)
    assert batch_sharding(mesh).shard_shape((8, 3)) == (2, 3)
    assert replicated(mesh).shard_shape((8, 3)) == (8, 3)


def test_fsdp_holds_at_most_016_of_the_parameters_on_each_of_eight_devices() -> None:
    mesh = create_mesh(fsdp=8)
    shardings = param_shardings(mesh, MLP, (), ShardingConfig().fsdp_min_weight_size)
    assert 1 / 8 <= nbytes_share(MLP, shardings) <= 0.16


def test_fsdp_takes_the_largest_axis_that_divides() -> None:
    mesh = create_mesh(fsdp=8)
    shapes = {"wide": shape(8, 100, 64), "odd": shape(9, 1001), "small": shape(8, 8), "none": shape(0, 8)}
    found = param_choices(mesh, shapes, (), 100)
    assert found["wide"] == (PartitionSpec(None, None, "fsdp"), "fsdp")
    assert found["odd"] == (PartitionSpec(), "no free axis divides by fsdp 8")
    assert found["small"] == (PartitionSpec(), "fewer than 100 numbers")
    assert found["none"].spec == PartitionSpec()


def test_a_rule_comes_first_and_fsdp_takes_another_axis() -> None:
    mesh = create_mesh(fsdp=2, tensor=4)
    found = param_choices(mesh, MLP, (COLUMNS,), 2**14)
    assert found["layers/0/kernel"] == (PartitionSpec("fsdp", "tensor"), r"rule 'layers/\\d+/kernel'; fsdp")
    assert found["layers/0/bias"].spec == PartitionSpec()
    assert NamedSharding(mesh, found["layers/0/kernel"].spec).shard_shape((784, 512)) == (392, 128)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (ShardingRule("out", (None, "tensor")), "rule 'out' not used: 10 does not divide by tensor 4"),
        (ShardingRule("out", ("tensor",)), "rule 'out' not used: it has 1 axes, the parameter 2"),
        (ShardingRule("out", ("expert", None)), "rule 'out' not used: the mesh has no axis 'expert'"),
    ],
)
def test_a_rule_that_does_not_fit_is_passed_over_and_named(rule: ShardingRule, reason: str) -> None:
    mesh = create_mesh(tensor=4)
    last = ShardingRule("kernel", ("tensor", None))
    assert param_choices(mesh, MLP, (rule,), 0)["out/kernel"] == (PartitionSpec(), reason)
    assert param_choices(mesh, MLP, (rule, last), 0)["out/kernel"] == (
        PartitionSpec("tensor"),
        f"{reason}; rule 'kernel'",
    )


def test_an_axis_of_size_one_stays_free_for_fsdp() -> None:
    mesh = create_mesh(fsdp=8)
    rule = ShardingRule("kernel", ("tensor", None))
    assert param_choices(mesh, {"kernel": shape(64, 3)}, (rule,), 0)["kernel"].spec == PartitionSpec("fsdp")


@pytest.mark.parametrize(
    "tx",
    [optax.adamw(1e-3), optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, 0.9)), optax.adafactor(1e-3)],
    ids=["adamw", "sgd", "adafactor"],
)
def test_optimizer_state_lies_like_its_parameters_and_can_be_made_there(tx: optax.GradientTransformation) -> None:
    mesh = create_mesh(fsdp=8)
    shapes = {**MLP, "scale": shape(4096)}
    shardings = param_shardings(mesh, shapes, (), 2**12)
    state = jax.eval_shape(tx.init, shapes)
    placed = opt_shardings(tx, state, shardings, mesh)
    made = jax.jit(lambda: tx.init({n: jnp.zeros(s.shape) for n, s in shapes.items()}), out_shardings=placed)()
    leaves = jax.tree.leaves(made)
    assert jax.tree.structure(made) == jax.tree.structure(placed)
    large = [leaf for leaf in leaves if leaf.size >= 2**14]
    assert all(leaf.addressable_shards[0].data.size * 8 == leaf.size for leaf in large)
    held, whole = (sum(a.size for a in arrays) for arrays in ([x.addressable_shards[0].data for x in leaves], leaves))
    # Adafactor's factors are small and may lie everywhere.
    assert held <= 0.16 * whole or whole < 2**15


def test_one_step_over_fsdp_and_tensor_equals_one_device() -> None:
    mesh = create_mesh(data=2, fsdp=2, tensor=2)
    key = jax.random.key(0)
    shapes = {"layers/0/kernel": shape(16, 32), "layers/1/kernel": shape(32, 16)}
    params = {
        name: jax.random.normal(jax.random.fold_in(key, i), s.shape) for i, (name, s) in enumerate(shapes.items())
    }
    x = jax.random.normal(jax.random.key(1), (8, 16))

    def loss(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        return jnp.mean((jnp.tanh(x @ params["layers/0/kernel"]) @ params["layers/1/kernel"]) ** 2)

    shardings = param_shardings(mesh, shapes, (COLUMNS,), 0)
    assert shardings["layers/0/kernel"].shard_shape((16, 32)) == (8, 16)
    spread = jax.jit(jax.grad(loss), out_shardings=shardings)(
        jax.device_put(params, shardings), jax.device_put(x, batch_sharding(mesh))
    )
    for name, expected in jax.grad(loss)(params, x).items():
        np.testing.assert_allclose(spread[name], expected, rtol=2e-5, atol=1e-6)  # the order of sums differs


def test_placement_is_told_in_bytes_a_device() -> None:
    mesh = create_mesh(fsdp=8)
    shapes = {"kernel": shape(64, 32), "bias": shape(32)}
    rows = describe_placement(shapes, param_shardings(mesh, shapes, (), 64), param_choices(mesh, shapes, (), 64))
    assert rows == [
        ("kernel", (64, 32), "('fsdp',)", 64 * 32 * 4 // 8, "fsdp"),
        ("bias", (32,), "()", 128, "fewer than 64 numbers"),
    ]


def test_rules_of_plugins_are_records() -> None:
    assert all(isinstance(rule, ShardingRule) for rule in installed_rules())
