"""What the trainer adds to a bare step.

Claim: `Trainer.fit` costs at most 2 % of CPU time more than a hand-written, donated `jax.jit` + optax loop with the
same services at a step of about 5 ms, and at most 60 µs a step at a tiny one; `steps_per_call` gives equal parameters
and is faster on the tiny one. Peers in the same run: `nnx.jit` as its tutorial shows it, and an eager torch loop where
torch is there.

Every figure is CPU time, the least of `ROUNDS` interleaved rounds. Where the arrays of a loop happen to lie in memory
moves its time by several per cent for as long as it lives, so that each loop is built `BUILDS` times and the mean is
printed; the run is inconclusive where half of the references differ from the others by more than 5 %.

    python benchmarks/trainer_overhead.py
"""

from __future__ import annotations

import importlib.util
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from artifex.core import GenerativeModel, ModelConfig, Trainer, TrainerConfig
from artifex.core.data.resident import gather, order_window
from artifex.core.leaves import flatten
from artifex.core.nn.mlp import MLP

ROUNDS, BUILDS = 9, 4
RATE = 1e-3
N_ROWS = 4096


class Size(NamedTuple):
    """A network and how long it is timed."""

    name: str
    width: int
    depth: int
    batch: int
    steps: int


SIZES = (Size("large", 384, 4, 128, 100), Size("tiny", 32, 2, 32, 1000))


@dataclass(frozen=True, kw_only=True)
class NetConfig(ModelConfig):
    """A perceptron that copies its input."""

    width: int = 32
    depth: int = 2


class Net(GenerativeModel):
    """A perceptron that copies its input."""

    def __init__(self, config: NetConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.mlp = MLP((config.width,) * (config.depth + 1), rngs=rngs)

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> dict[str, jax.Array]:
        """What it makes of x."""
        return {"y": self.mlp(x)}

    def loss_fn(self, batch: dict[str, jax.Array], outputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The squared error."""
        return {"loss": ((outputs["y"] - batch["x"]) ** 2).mean()}

    def generate(self, n_samples: int = 1, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Nothing of interest."""
        return self.mlp(jnp.zeros((n_samples, self.config.width)))


def build(size: Size) -> Net:
    """A new network."""
    return Net(NetConfig(width=size.width, depth=size.depth), rngs=nnx.Rngs(0))


def rows(size: Size) -> np.ndarray:
    """The data."""
    return np.random.default_rng(0).standard_normal((N_ROWS, size.width)).astype(np.float32)


def trainer_loop(size: Size, k: int = 1) -> tuple[Callable[[], None], Trainer]:
    """`size.steps` steps through the trainer."""
    config = TrainerConfig(steps=10**9, batch_size=size.batch, log_every=10**6, steps_per_call=k)
    trainer, x = Trainer(build(size), config), rows(size)
    trainer.fit(x, steps=2 * k)
    return lambda: trainer.fit(x, steps=size.steps) and None, trainer


def bare_step(size: Size) -> tuple[Callable, list, Callable]:
    """A hand-written step with the trainer's services, its first arguments, and what it needs each call."""
    _, arrays = flatten(build(size))
    params = {path: jnp.array(a) for path, a in arrays.items() if path.startswith("mlp")}
    tx = optax.chain(optax.scale_by_adam(), optax.scale(-RATE))

    def loss(params, x):
        h = x
        for i in range(size.depth):
            h = h @ params[f"mlp/layers/{i}/kernel"] + params[f"mlp/layers/{i}/bias"]
            h = jax.nn.relu(h) if i < size.depth - 1 else h
        return ((h - x) ** 2).mean()

    def step(params, opt, count, metrics, data, order):
        x = gather(data, order, (count * size.batch) % N_ROWS, size.batch)["x"]
        value, grads = jax.value_and_grad(loss)(params, x)
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(grads)))
        good = jnp.isfinite(norm) & jnp.isfinite(value)

        def apply():
            updates, new = tx.update(grads, opt, params)
            return optax.apply_updates(params, updates), new

        params, opt = jax.lax.cond(good, apply, lambda: (params, opt))
        line = jnp.where(good, jnp.stack([value, norm]), 0.0)
        return params, opt, count + 1, metrics + line

    data = {"x": jnp.asarray(rows(size))}
    order = jnp.asarray(order_window(N_ROWS, 0, 0))
    start = [params, jax.jit(tx.init)(params), jnp.zeros((), jnp.int32), jnp.zeros(2)]
    return jax.jit(step, donate_argnums=(0, 1, 2)), start, lambda: (data, order)


def bare_loop(size: Size) -> Callable[[], None]:
    """`size.steps` steps of the hand-written loop, at most four of them in flight."""
    step, state, inputs = bare_step(size)
    data, order = inputs()
    state[:] = step(*state, data, order)

    def run() -> None:
        flight = []
        for _ in range(size.steps):
            state[:] = step(*state, data, order)
            flight.append(state[3])
            if len(flight) > 4:
                flight.pop(0).block_until_ready()
        jax.block_until_ready(state)

    return run


def nnx_loop(size: Size) -> Callable[[], None]:
    """`size.steps` steps of `nnx.jit` with an nnx.Optimizer."""
    model = build(size)
    optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, x):
        value, grads = nnx.value_and_grad(lambda m: ((m.mlp(x) - x) ** 2).mean())(model)
        optimizer.update(model, grads)
        return value

    x, order = jnp.asarray(rows(size)), order_window(N_ROWS, 0, 0)
    step(model, optimizer, x[: size.batch])

    def run() -> None:
        for i in range(size.steps):
            first = i * size.batch % N_ROWS
            value = step(model, optimizer, x[order[first : first + size.batch]])
        value.block_until_ready()

    return run


def torch_loop(size: Size) -> Callable[[], None]:
    """`size.steps` eager steps of torch on the same network."""
    import torch

    torch.set_num_threads(1)
    layers: list[torch.nn.Module] = []
    for i in range(size.depth):
        layers += [torch.nn.Linear(size.width, size.width), *([torch.nn.ReLU()] if i < size.depth - 1 else [])]
    net = torch.nn.Sequential(*layers)
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    x, order = torch.tensor(rows(size)), torch.tensor(order_window(N_ROWS, 0, 0).astype(np.int64))

    def run() -> None:
        for i in range(size.steps):
            first = i * size.batch % N_ROWS
            batch = x[order[first : first + size.batch]]
            optimizer.zero_grad()
            loss = ((net(batch) - batch) ** 2).mean()
            loss.backward()
            optimizer.step()

    return run


def cpu(run: Callable[[], None]) -> float:
    """CPU seconds of one run."""
    before = time.process_time()
    run()
    return time.process_time() - before


def compare(size: Size) -> None:
    """Time everything on one network, and print it."""
    kinds: dict[str, Callable[[Size], Callable[[], None]]] = {
        "bare": bare_loop,
        "trainer": lambda size: trainer_loop(size)[0],
        "nnx.jit": nnx_loop,
    }
    if size.name == "tiny":
        kinds["trainer, K = 8"] = lambda size: trainer_loop(size, 8)[0]
    if importlib.util.find_spec("torch"):
        kinds["torch, eager"] = torch_loop
    loops = {(name, i): make(size) for i in range(BUILDS) for name, make in kinds.items()}
    times: dict[tuple[str, int], list[float]] = {key: [] for key in loops}
    for turn in range(ROUNDS):
        # Shuffled, since a loop's time depends on which one ran before it.
        for key in random.Random(turn).sample(list(loops), len(loops)):
            times[key].append(cpu(loops[key]))
    least = {name: [min(times[name, i]) / size.steps * 1e6 for i in range(BUILDS)] for name in kinds}
    best = {name: sum(values) / BUILDS for name, values in least.items()}
    base, half = best["bare"], BUILDS // 2
    drift = abs(sum(least["bare"][:half]) - sum(least["bare"][half:])) / half / base
    print(f"\n{size.name}: {size.depth} layers of {size.width}, batch {size.batch}, {size.steps} steps a round")
    for name, value in best.items():
        spread = f"{min(least[name]):.1f} to {max(least[name]):.1f}"
        print(
            f"  {name:<16} {value:9.1f} us a step   {value / base:6.3f} x   {value - base:+8.1f} us   builds {spread}"
        )
    print(f"  references differ by {100 * drift:.1f} %: {'inconclusive' if drift > 0.05 else 'conclusive'}")
    _compiled(size, trainer_loop(size)[1])


def _compiled(size: Size, trainer: Trainer) -> None:
    """FLOPs and bytes of both compiled steps, which carry no noise."""
    step, state, inputs = bare_step(size)
    bare = step.lower(*state, *inputs()).compile().cost_analysis()
    ours = trainer.lower(rows(size)).compile().cost_analysis()
    for name in ("flops", "bytes accessed"):
        print(f"  {name:<16} {ours[name] / bare[name]:.4f} of the hand-written step's")


def equal_parameters(size: Size) -> None:
    """Show that eight steps a call change nothing."""
    ends = []
    for k in (1, 8):
        trainer = Trainer(build(size), TrainerConfig(steps=80, batch_size=size.batch, steps_per_call=k))
        trainer.fit(rows(size))
        ends.append(trainer.state.params)
    same = all(bool((ends[0][path] == ends[1][path]).all()) for path in ends[0])
    print(f"\nsteps_per_call 8 and 1 end in equal parameters after 80 steps: {same}")


if __name__ == "__main__":
    print(
        f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread; least CPU time of {ROUNDS} interleaved rounds"
    )
    for each in SIZES:
        compare(each)
    equal_parameters(SIZES[1])
