"""Every model on eight devices: the losses of one, and a share of the parameters each.

The kit checks fsdp and 2 x 2 x 2; here are data alone and tensor alone, and how much of a whole model a device holds.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten, select
from artifex.core.mesh import create_mesh, describe_placement, installed_rules, param_choices, param_shardings
from artifex.core.registry import load_target, model_record
from artifex.core.testing.subject import subject

MIN_SIZE = 2**12  # numbers in an array that fsdp cuts; ShardingConfig's own default
NEEDED = {"beta_tc_vae": {"n_train": 60_000}}  # fields that have no default of their own
SHARE = 0.16  # of the parameters' bytes on one of eight devices: an eighth, and what is too small to cut


def parameter_shapes(name: str) -> dict[str, jax.ShapeDtypeStruct]:
    """The parameters of the model that the default config describes, of which none is made."""
    record = model_record(name)
    config = load_target(record.config)(**NEEDED.get(name, {}))
    model = nnx.eval_shape(lambda: load_target(record.model)(config, rngs=nnx.Rngs(0)))
    _, arrays = flatten(model)
    return {path: arrays[path] for path in sorted(select(model, nnx.Param))}


def is_large(shapes: dict[str, jax.ShapeDtypeStruct]) -> bool:
    """Whether nearly all of a model lies in arrays that fsdp cuts."""
    sizes = [np.prod(leaf.shape) for leaf in shapes.values()]
    return sum(size for size in sizes if size >= MIN_SIZE) > 0.97 * sum(sizes)


@pytest.mark.faults
def test_a_device_of_eight_holds_its_share_of_the_default_model(name: str) -> None:
    shapes = parameter_shapes(name)
    if not is_large(shapes):
        pytest.skip(f"{sum(np.prod(x.shape) for x in shapes.values())} parameters, below the minimum weight size")
    mesh = create_mesh(fsdp=8)
    rows = describe_placement(shapes, param_shardings(mesh, shapes, installed_rules(), MIN_SIZE))
    share = sum(row.bytes_per_device for row in rows) / sum(np.prod(row.shape) * 4 for row in rows)
    print(f"{name}: {share:.3f} of the parameters on each of 8 devices")
    assert share <= SHARE


@pytest.mark.faults
@pytest.mark.parametrize("axis", ["data", "tensor"])
def test_losses_are_those_of_one_device(name: str, axis: str) -> None:
    s = subject(name)
    shards = {"data": next(n for n in (8, 4, 2, 1) if s.n % (n * s.parts) == 0), "tensor": 2}[axis]
    mesh = create_mesh(**{axis: shards}, devices=jax.devices()[:shards])
    params = flatten(s.build())[1]
    placed = param_choices(mesh, params, installed_rules(), MIN_SIZE).values()
    if axis == "tensor" and not any("tensor" in choice.spec for choice in placed):
        pytest.skip("no rule places a parameter of this model on the axis tensor")
    for one, many in zip(s.trained.rows[:5], s.trainer(mesh=mesh).fit(s.batch, steps=5), strict=True):
        for term in (term for term in one if term.split("/")[-1] == "loss"):
            assert many[term] == pytest.approx(one[term], rel=1e-5, abs=1e-5)
