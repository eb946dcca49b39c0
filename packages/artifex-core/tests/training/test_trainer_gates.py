"""The trainer costs nothing: no second trace, few Python calls, no waiting, no more arithmetic than by hand.

Figures are counted, never timed.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax._src.array
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.mesh import ShardingConfig, create_mesh
from artifex.core.model import GenerativeModel
from artifex.core.nn.mlp import MLP
from artifex.core.testing.events import traced
from artifex.core.training.config import OptimizerConfig, TrainerConfig
from artifex.core.training.objective import Objective, StepContext, TrainingSpec
from artifex.core.training.trainer import Trainer

ROWS = np.random.default_rng(0).normal(size=(512, 32)).astype(np.float32)
PAIRS = np.random.default_rng(1).normal(size=(512, 2)).astype(np.float32)
SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8}


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(ModelConfig):
    """A small denoiser."""

    widths: tuple[int, ...] = (2, 8, 2)  # of its layers


class Denoiser(GenerativeModel):
    """x̂ = MLP(x + ε)."""

    def __init__(self, config: DenoiserConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.mlp = MLP(config.widths, activation="tanh", rngs=rngs)

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs) -> dict[str, jax.Array]:
        return {"x": self.mlp(x + jax.random.normal(rngs(), x.shape))}

    def loss_fn(self, batch: Mapping[str, jax.Array], outputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {"loss": jnp.mean((outputs["x"] - batch["x"]) ** 2)}

    def generate(self, n_samples: int = 1, *, rngs: nnx.Rngs) -> jax.Array:
        return self.mlp(jax.random.normal(rngs(), (n_samples, self.config.widths[0])))


class Split(Denoiser):
    """Four updates a step, each on a quarter of the batch."""

    def training_spec(self) -> TrainingSpec:
        def loss(model: Split, batch: Any, ctx: StepContext) -> dict[str, jax.Array]:
            return model.loss_fn(batch, model(batch["x"], rngs=ctx.rngs))

        return TrainingSpec(objectives=(Objective(name="critic", loss=loss, repeat=4, feed="split"),))


def trainer(
    widths: tuple[int, ...] = (2, 8, 2), kind: type[Denoiser] = Denoiser, mesh: Any = None, **settings: Any
) -> Trainer:
    settings = {"steps": 1000, "batch_size": 256, "log_every": 10_000} | settings
    model = kind(DenoiserConfig(widths=widths), rngs=nnx.Rngs(0))
    return Trainer(model, TrainerConfig(**settings), mesh=mesh)


@pytest.mark.parametrize("k", [1, 8])
def test_nothing_is_traced_or_compiled_after_the_first_steps(k: int) -> None:
    run = trainer(steps_per_call=k, log_every=5, ema_decay=0.9, grad_accum=2, batch_size=64)
    run.fit(PAIRS, steps=k + 1)
    with traced() as events:
        run.fit(PAIRS, steps=8 * k + 3)  # over the end of an epoch, with rows of metrics
    assert events == []
    assert run.step == 9 * k + 4


def python_calls(action: Callable[[], Any]) -> int:
    """Calls of Python functions while `action` runs."""
    count = 0

    def watch(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(watch)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(("k", "most"), [(1, 65), (8, 12)])
def test_a_step_makes_few_python_calls(k: int, most: int) -> None:
    run = trainer(steps_per_call=k, batch_size=8)
    run.fit(PAIRS, steps=k + 1)
    few, many = (python_calls(lambda n=n: run.fit(PAIRS, steps=n)) for n in (80, 240))
    print(f"Python calls a step with {k} steps a call: {(many - few) / 160:.2f}")
    assert (many - few) / 160 <= most


@contextlib.contextmanager
def counted_reads() -> Iterator[list[tuple[int, ...]]]:
    """The shapes of the arrays that the host reads from the device in a block."""
    kind, reads = jax._src.array.ArrayImpl, []
    value = kind._value

    def read(array: Any) -> Any:
        reads.append(array.shape)
        return value.__get__(array)

    kind._value = property(read)
    try:
        yield reads
    finally:
        kind._value = value


def test_the_host_does_not_wait_for_steps() -> None:
    run = trainer(batch_size=8)
    run.fit(PAIRS, steps=2)
    counts = []
    for steps in (100, 300):
        with counted_reads() as reads:
            run.fit(PAIRS, steps=steps)
        counts.append(len(reads))
    print(f"reads from the device in 100 and 300 steps: {counts}")
    assert counts[0] == counts[1] <= 2  # the row at the end of each fit
    assert counts[0] >= 1  # so that the count counts


def step_by_hand(run: Trainer, widths: tuple[int, ...], batch_size: int) -> Any:
    """The compiled step of a loop with the same services: gather, noise, Adam, clipping, averaging, finite or not."""
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(), optax.scale(-1e-3))
    last = len(widths) - 2

    def forward(params: Any, x: jax.Array) -> jax.Array:
        for i in range(last + 1):
            x = x @ params[f"mlp/layers/{i}/kernel"] + params[f"mlp/layers/{i}/bias"]
            x = x if i == last else jnp.tanh(x)
        return x

    def step(state: Any, metrics: jax.Array, arrays: Any, words: jax.Array) -> Any:
        count, bad, params, opt, mean = state
        data, order, start = arrays
        rows = jax.lax.dynamic_slice_in_dim(order, start[1] + (count - start[0]) * batch_size, batch_size)
        x = data[rows]
        key = jax.random.fold_in(jax.random.wrap_key_data(words), count)
        noise = jax.random.normal(jax.random.fold_in(key, 0), x.shape)
        value, grads = jax.value_and_grad(lambda p: jnp.mean((forward(p, x + noise) - x) ** 2))(params)
        norm = optax.global_norm(grads)
        good = jnp.isfinite(norm) & jnp.isfinite(value)

        def update() -> Any:
            updates, new = tx.update(grads, opt, params)
            return optax.apply_updates(params, updates), new, jnp.zeros((), jnp.int32)

        params, opt, bad = jax.lax.cond(good, update, lambda: (params, opt, bad + 1))
        decay = jnp.minimum(0.99, (1 + count) / (10 + count))
        mean = jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), mean, params)
        row = jnp.where(good, jnp.stack([value, norm]), 0.0)
        return (count + 1, bad, params, opt, mean), metrics + row

    params = dict(run.state.params)
    state = (jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), params, tx.init(params), params)
    arrays = (jnp.asarray(ROWS), jnp.arange(2 * len(ROWS), dtype=jnp.int32), jnp.zeros(2, jnp.int32))
    words = jax.random.key_data(jax.random.key(0))
    return jax.jit(step, donate_argnums=0).lower(state, jnp.zeros(2), arrays, words).compile()


@pytest.mark.parametrize("depth", [1, 3])
def test_the_step_computes_and_moves_no_more_than_one_by_hand(depth: int) -> None:
    widths = (32, *[128] * depth, 32)
    run = trainer(widths, ema_decay=0.99, optimizer=OptimizerConfig(clip_norm=1.0))
    ours = run.lower(ROWS).compile().cost_analysis()
    by_hand = step_by_hand(run, widths, 256).cost_analysis()
    flops, moved = (ours[name] / by_hand[name] for name in ("flops", "bytes accessed"))
    print(f"{depth} hidden layers: FLOPs {flops:.4f}, bytes {moved:.4f} of those by hand")
    assert flops <= 1.02
    assert moved <= 1.05


def all_reduced(text: str) -> int:
    """Bytes that a compiled program sums over devices."""
    total = 0
    for result in re.findall(r"= (.*?) all-reduce(?:-start)?\(", text):
        for kind, sizes in re.findall(r"(\w+)\[([\d,]*)\]", result):
            total += SIZES[kind] * int(np.prod([int(n) for n in sizes.split(",") if n]))
    return total


@pytest.mark.parametrize(
    ("kind", "settings", "reduced"),
    [(Denoiser, {}, 1), (Denoiser, {"grad_accum": 4}, 1), (Split, {}, 4)],
    ids=["plain", "parts", "split"],
)
def test_eight_devices_share_the_work(
    kind: type[Denoiser], settings: dict[str, Any], reduced: int, capfd: pytest.CaptureFixture[str]
) -> None:
    widths = (32, 128, 128, 32)
    mesh = ShardingConfig(data_parallel_size=8)
    alone, shared = (trainer(widths, kind, m, **settings).lower(ROWS).compile() for m in (None, mesh))
    flops = shared.cost_analysis()["flops"] / alone.cost_analysis()["flops"]
    size = sum(4 * (a * b + b) for a, b in itertools.pairwise(widths))
    bytes_ = all_reduced(shared.as_text())
    print(f"{kind.__name__} {settings}: FLOPs a device {flops:.4f}, all-reduced {bytes_ / size:.4f} of the parameters")
    assert flops <= 1.5 / 8
    assert bytes_ / size == pytest.approx(reduced, rel=0.01)
    assert "Involuntary full rematerialization" not in capfd.readouterr().err


def test_fsdp_shares_the_work_and_the_state(capfd: pytest.CaptureFixture[str]) -> None:
    widths = (32, 512, 512, 32)  # kernels at and above the smallest size that is spread
    mesh = ShardingConfig(data_parallel_size=8, fsdp_enabled=True)
    alone, shared = (trainer(widths, mesh=m, ema_decay=0.9) for m in (None, mesh))
    programs = [run.lower(ROWS).compile() for run in (alone, shared)]
    flops = programs[1].cost_analysis()["flops"] / programs[0].cost_analysis()["flops"]
    whole, held = (run.describe(ROWS)["state_bytes_per_device"] for run in (alone, shared))
    print(f"fsdp 8: FLOPs a device {flops:.4f}, state a device {held / whole:.4f}")
    assert flops <= 1.5 / 8
    assert 1 / 8 <= held / whole <= 0.16
    assert "Involuntary full rematerialization" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "mesh",
    [
        ShardingConfig(data_parallel_size=8),
        ShardingConfig(data_parallel_size=8, fsdp_enabled=True, fsdp_min_weight_size=16),
        "2x2x2",
    ],
    ids=["data", "fsdp", "2x2x2"],
)
def test_losses_on_eight_devices_are_those_of_one(mesh: Any) -> None:
    devices = create_mesh(data=2, fsdp=2, tensor=2) if mesh == "2x2x2" else mesh
    settings = {"log_every": 1, "ema_decay": 0.9, "grad_accum": 2, "batch_size": 64}
    one, many = (trainer((2, 32, 2), mesh=m, **settings).fit(PAIRS, steps=5) for m in (None, devices))
    assert len(many) == 5
    np.testing.assert_allclose([row["loss"] for row in many], [row["loss"] for row in one], rtol=1e-5)


def equal(a: Trainer, b: Trainer) -> bool:
    """Whether two runs stand at the same state, bit for bit."""
    pairs = zip(jax.tree.leaves(a.state), jax.tree.leaves(b.state), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


def test_five_steps_a_call_give_the_state_of_one_bit_for_bit() -> None:
    one, five = (
        trainer(steps=23, steps_per_call=k, batch_size=60, ema_decay=0.9, grad_accum=2, log_every=7) for k in (1, 5)
    )
    rows = [run.fit(PAIRS) for run in (one, five)]
    assert equal(one, five)
    assert (rows[0][-1]["step"], rows[1][-1]["step"], rows[0][-1]["loss"]) == (23, 23, rows[1][-1]["loss"])


def test_sampling_again_traces_nothing() -> None:
    model = trainer().model()
    model.sample(5, rngs=nnx.Rngs(0))
    rngs = nnx.Rngs(1)
    with traced() as events:
        model.sample(5, rngs=rngs)
    assert events == []
