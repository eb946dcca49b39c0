"""Speed of the flows beside FlowJAX, zuko and nflows, interleaved in one run.

Five layers, conditioners of two layers of 64, 8 bins on ±4, batches of 512, Adam; CPU milliseconds of one call, the
best of ROUNDS, all systems in turn within a round: REPEATS in a row, as in training, so that caches hold what a system
works on; of samples one call a round. `first` is the CPU time of the first training step, compilation included. The
architectures are those that all can build: permutations or reversals between layers, no LU maps, no splines on the
numbers that pass through. All update parameters in place. Samples of masked flows take sweeps here, one pass a number
elsewhere. `products` is what a training step of a masked flow takes for its dense matrix products alone, in JAX,
forward and backward: the floor of whoever computes them so.

    python benchmarks/flow_speed.py [coupling] [affine] [spline] [depth] [--dims D ...]
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"  # or first calls would be those of an earlier run

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from artifex.core import create_model
from artifex.core.leaves import flatten, merge, select

DIMS, BATCH = (10, 63), 512
ROUNDS, REPEATS = 6, 5  # a round of samples at 63 dimensions takes the others 13 seconds
LAYERS, WIDTH, BINS, BOUND = 5, 64, 8, 4.0
DEPTHS = (4, 16)
PEERS = ("flowjax", "zuko", "nflows")
MASKED = {"affine": 2, "spline": 3 * BINS - 1}  # parameters of one number's map
PARTS = ("coupling", "affine", "spline", "depth")


class System(NamedTuple):
    """What is timed: each call ends with its result."""

    train: Callable[[], Any]
    log_prob: Callable[[], Any]
    sample: Callable[[], Any]


def data(dim: int) -> np.ndarray:
    """Standard normal rows."""
    return np.random.default_rng(0).standard_normal((BATCH, dim)).astype(np.float32)


def artifex(kind: str, dim: int, layers: int) -> System:
    """Ours."""
    hidden = (WIDTH, WIDTH)
    net = {"type": "mlp", "hidden_dims": hidden}
    coupling = {"transform": {"type": "coupling", "net": net, "own_splines": False}, "mixing": "permute"}
    masked = {"transform": {"type": "autoregressive", "hidden_dims": hidden}, "mixing": "reverse"}
    name, fields = {
        "coupling": ("neural_spline", {"bins": BINS, "bound": BOUND, **coupling}),
        "affine": ("maf", {"hidden_dims": hidden}),
        "spline": ("neural_spline", {"bins": BINS, "bound": BOUND, **masked}),
    }[kind]
    fields |= {"dim": dim, "n_layers": layers}
    model = create_model(name, rngs=nnx.Rngs(0), **fields)
    layout, arrays = flatten(model)
    params = {k: arrays[k] for k in select(model, nnx.Param)}
    rest = {k: a for k, a in arrays.items() if k not in params}
    x, optimizer = jnp.asarray(data(dim)), optax.adam(1e-3)
    state = optimizer.init(params)

    def loss(params):
        return -merge(layout, params | rest).log_prob(x).mean()

    def train(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    train = jax.jit(train, donate_argnums=(0, 1))
    log_prob = jax.jit(lambda params: merge(layout, params | rest).log_prob(x))
    sample = jax.jit(lambda params: merge(layout, params | rest).generate(BATCH, rngs=nnx.Rngs(0)))
    return ready(training(train, params, state), lambda: log_prob(params), lambda: sample(params))


def flowjax(kind: str, dim: int, layers: int) -> System:
    """FlowJAX, its flows as its own training loop differentiates them."""
    import equinox as eqx
    import paramax
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow

    spline = None if kind == "affine" else RationalQuadraticSpline(knots=BINS, interval=BOUND)
    make = coupling_flow if kind == "coupling" else masked_autoregressive_flow
    flow = make(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(dim)),
        transformer=spline,
        flow_layers=layers,
        nn_width=WIDTH,
        nn_depth=2,
    )
    params, static = eqx.partition(
        flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
    x, optimizer = jnp.asarray(data(dim)), optax.adam(1e-3)
    state = optimizer.init(params)

    def whole(params):
        return paramax.unwrap(eqx.combine(params, static))

    @eqx.filter_jit(donate="all")
    def train(params, state):
        value, grads = eqx.filter_value_and_grad(lambda p: -whole(p).log_prob(x).mean())(params)
        updates, state = optimizer.update(grads, state, params)
        return eqx.apply_updates(params, updates), state, value

    log_prob = eqx.filter_jit(lambda params: whole(params).log_prob(x))
    sample = eqx.filter_jit(lambda params: whole(params).sample(jax.random.key(0), (BATCH,)))
    return ready(training(train, params, state), lambda: log_prob(params), lambda: sample(params))


def training(train: Callable[..., Any], params: Any, state: Any) -> Callable[[], Any]:
    """A step from where the last one ended, its arrays reused; of copies, for the other calls need the parameters."""
    at = jax.tree.map(lambda leaf: jnp.array(leaf) if isinstance(leaf, jax.Array) else leaf, (params, state))

    def step():
        nonlocal at
        *at, value = train(*at)
        return value

    return step


def ready(*calls: Callable[[], Any]) -> System:
    """Calls that end when their result is there."""
    return System(*((lambda call=call: jax.block_until_ready(call())) for call in calls))


def torch_system(flow: Any, log_prob: Callable[[Any], Any], sample: Callable[[], Any], dim: int) -> System:
    """A torch flow with Adam."""
    import torch

    torch.set_num_threads(1)
    x = torch.from_numpy(data(dim))
    optimizer = torch.optim.Adam(flow.parameters(), 1e-3)

    def train():
        optimizer.zero_grad()
        (-log_prob(x).mean()).backward()
        optimizer.step()

    def without_gradient(call):
        with torch.no_grad():
            return call()

    return System(train, lambda: without_gradient(lambda: log_prob(x)), lambda: without_gradient(sample))


def zuko(kind: str, dim: int, layers: int) -> System:
    """zuko."""
    import torch
    from zuko.flows import MAF, NSF

    torch.manual_seed(0)
    shape = {"transforms": layers, "hidden_features": (WIDTH, WIDTH)}
    flow = {
        "coupling": lambda: NSF(dim, bins=BINS, passes=2, **shape),
        "affine": lambda: MAF(dim, **shape),
        "spline": lambda: NSF(dim, bins=BINS, **shape),
    }[kind]()
    return torch_system(flow, lambda x: flow().log_prob(x), lambda: flow().sample((BATCH,)), dim)


def nflows(kind: str, dim: int, layers: int) -> System:
    """nflows."""
    import torch
    from nflows import distributions, flows, transforms
    from nflows.nn.nets import ResidualNet

    torch.manual_seed(0)
    tails = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}
    masked = {"features": dim, "hidden_features": WIDTH, "num_blocks": 1, "use_residual_blocks": True}

    def layer():
        if kind == "affine":
            return transforms.MaskedAffineAutoregressiveTransform(**masked)
        if kind == "spline":
            return transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(**masked, **tails)
        mask = torch.arange(dim) % 2
        return transforms.PiecewiseRationalQuadraticCouplingTransform(
            mask, lambda i, o: ResidualNet(i, o, hidden_features=WIDTH, num_blocks=1), **tails
        )

    steps = [part for _ in range(layers) for part in (transforms.ReversePermutation(dim), layer())]
    flow = flows.Flow(transforms.CompositeTransform(steps), distributions.StandardNormal([dim]))
    return torch_system(flow, flow.log_prob, lambda: flow.sample(BATCH), dim)


BUILDERS = {"artifex": artifex, "flowjax": flowjax, "zuko": zuko, "nflows": nflows}


def cpu_ms(call: Callable[[], Any]) -> float:
    """CPU milliseconds of one call."""
    before = time.process_time()
    call()
    return 1e3 * (time.process_time() - before)


def table(kind: str, dim: int, names: list[str]) -> None:
    """Times of all systems, interleaved."""
    systems = {name: BUILDERS[name](kind, dim, LAYERS) for name in names}
    first = {name: cpu_ms(system.train) / 1e3 for name, system in systems.items()}
    best = {name: np.full(3, np.inf) for name in names}
    for system in systems.values():
        for call in system:
            call()
    for _ in range(ROUNDS):
        for name, system in systems.items():
            for i, repeats in enumerate((REPEATS, REPEATS, 1)):
                best[name][i] = min(best[name][i], *(cpu_ms(system[i]) for _ in range(repeats)))
    rounds = f"best of {ROUNDS} × {REPEATS}, samples of {ROUNDS}"
    print(f"\n{kind}, d = {dim}, batch {BATCH}, {LAYERS} layers: {rounds}, CPU ms; in brackets times ours")
    print(f"  {'':<10} {'train':>16} {'log_prob':>16} {'sample':>16} {'first s':>14}")
    ours = [*best["artifex"], first["artifex"]]
    for name in names:
        cells = [f"{v:8.2f} ({v / o:4.1f})" for v, o in zip([*best[name], first[name]], ours, strict=True)]
        print(f"  {name:<10} {' '.join(f'{cell:>16}' for cell in cells)}", flush=True)
    if kind in MASKED:
        alone = products(MASKED[kind], dim)
        alone()
        least = min(cpu_ms(alone) for _ in range(ROUNDS * REPEATS))
        print(f"  {'products':<10} {f'{least:8.2f} ({least / ours[0]:4.1f})':>16}", flush=True)


def products(n_params: int, dim: int) -> Callable[[], Any]:
    """The matrix products of the networks of a masked flow and their gradients, the batch last."""
    rng = np.random.default_rng(0)
    widths = (dim, WIDTH, WIDTH, n_params * dim)
    kernels = [jnp.asarray(rng.standard_normal(s), jnp.float32) for s in zip(widths[1:], widths[:-1], strict=True)]
    x, above = (jnp.asarray(rng.standard_normal((width, BATCH)), jnp.float32) for width in (dim, widths[-1]))

    @jax.jit
    def run(kernels, x):
        value, back = jax.vjp(lambda *inputs: functools.reduce(lambda h, kernel: kernel @ h, *inputs), kernels, x)
        return value, back(above)

    return lambda: jax.block_until_ready([run(kernels, x) for _ in range(LAYERS)])


def depth(names: list[str]) -> None:
    """CPU seconds of the first training step of shallow and deep coupling flows."""
    print(f"\nfirst training step of a spline coupling at d = {DIMS[0]}, CPU s, for {DEPTHS} layers")
    for name in [name for name in names if name in ("artifex", "flowjax")]:
        seconds = [cpu_ms(BUILDERS[name]("coupling", DIMS[0], layers).train) / 1e3 for layers in DEPTHS]
        print(f"  {name:<10} {' '.join(f'{s:8.2f}' for s in seconds)}", flush=True)


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--dims", nargs="+", type=int, default=DIMS)
    options = parser.parse_args()
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    found = ["artifex", *(name for name in PEERS if importlib.util.find_spec(name))]
    for part in options.parts or PARTS:
        if part == "depth":
            depth(found)
        else:
            for dim in options.dims:
                table(part, dim, found)


if __name__ == "__main__":
    main()
