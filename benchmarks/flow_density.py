"""Held-out density of the flows beside FlowJAX and zuko, on equal budgets.

`toys`: points in the plane with a known density. What is printed is E log p_model − E log p_true over held-out points,
the negative KL divergence in nats, at best 0. `uci`: the columns of protein and kin40k with more than 1,000 distinct
values, duplicate rows removed, sorted, split 80/10/10 by `default_rng(0).permutation`, standardised by the training
part; test nats of the parameters that were best on the validation part. The other sets of that folder have integer or
repeated columns, where a density grows without bound, and are left out.

All systems: STEPS steps of BATCH, Adam at 1e-3 with a cosine, gradients clipped at norm 5, networks of two layers of
WIDTH units, three seeds; ± is the standard error over test rows, averaged over seeds, then the spread of the seeds.

    python benchmarks/flow_density.py [toys] [uci] [--libraries artifex flowjax zuko]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from artifex.core import create_model
from artifex.core.data.tables import read_csv
from artifex.core.data.toys import TOYS
from artifex.core.leaves import flatten, merge, select
from artifex.core.testing.paths import data_folder
from artifex.flow.flow import initialise_once

SEEDS, STEPS, BATCH, WIDTH, CHECKS = (0, 1, 2), 6000, 256, 128, 24
TOY_STEPS, TOY_WIDTH, TOY_TRAIN, TOY_TEST = 3000, 64, 20_000, 20_000
TOY_NAMES = ("eight_gaussians", "rings", "two_moons", "checkerboard", "banana", "funnel")
UCI = ("protein", "kin40k")
LIBRARIES = ("artifex", "flowjax", "zuko")
DISTINCT = 1000  # a column with fewer values is no sample of a density
BINS, BOUND = 8, 4.0

Rows = np.ndarray
LogProb = Callable[[Rows], np.ndarray]


class Data(NamedTuple):
    """Standardised rows."""

    train: Rows
    validation: Rows
    test: Rows


class Budget(NamedTuple):
    """How long and how wide."""

    steps: int
    width: int


def batches(rows: Rows, steps: int, seed: int) -> Iterator[Rows]:
    """Epochs in random order, the same for every system."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    at = 0
    for _ in range(steps):
        if at + BATCH > len(rows):
            order, at = rng.permutation(len(rows)), 0
        yield rows[order[at : at + BATCH]]
        at += BATCH


def best_on_validation(data: Data, budget: Budget, seed: int, step: Callable[[Rows], None], log_prob: LogProb) -> Rows:
    """Test log p of the parameters that were best on the validation part, one value a row."""
    best, found = -np.inf, np.zeros(len(data.test))
    every = max(1, budget.steps // CHECKS)
    for i, rows in enumerate(batches(data.train, budget.steps, seed), 1):
        step(rows)
        if i % every == 0 or i == budget.steps:
            score = float(log_prob(data.validation).mean())
            if score > best:
                best, found = score, log_prob(data.test)
    return found


def optimizer(budget: Budget) -> optax.GradientTransformation:
    """Adam with a cosine, clipped."""
    return optax.chain(optax.clip_by_global_norm(5.0), optax.adam(optax.cosine_decay_schedule(1e-3, budget.steps)))


def in_blocks(log_prob: Callable[[Any], Any]) -> LogProb:
    """log p of many rows through a program for a fixed number of them."""

    def evaluate(rows: Rows) -> np.ndarray:
        pad = -len(rows) % 2048
        padded = np.concatenate([rows, np.repeat(rows[-1:], pad, 0)])
        return np.concatenate([np.asarray(log_prob(part)) for part in np.split(padded, len(padded) // 2048)])[
            : len(rows)
        ]

    return evaluate


def artifex(name: str, fields: dict[str, Any]) -> Callable[[Data, Budget, int], Rows]:
    """One of our models."""

    def fit(data: Data, budget: Budget, seed: int) -> Rows:
        model = create_model(name, rngs=nnx.Rngs(seed), dim=data.train.shape[1], **with_width(fields, budget.width))
        if "initialised" in vars(model):
            initialise_once(model, {"x": jnp.asarray(data.train[:BATCH])}, None)
        layout, arrays = flatten(model)
        params = {k: arrays[k] for k in select(model, nnx.Param)}
        rest = {k: a for k, a in arrays.items() if k not in params}
        tx = optimizer(budget)

        def update(params, state, x):
            grads = jax.grad(lambda p: -merge(layout, p | rest).log_prob(x).mean())(params)
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        update = jax.jit(update, donate_argnums=(0, 1))
        log_prob = jax.jit(lambda params, x: merge(layout, params | rest).log_prob(x))
        at = [params, tx.init(params)]

        def step(rows: Rows) -> None:
            at[:] = update(*at, rows)

        return best_on_validation(data, budget, seed, step, in_blocks(lambda rows: log_prob(at[0], rows)))

    return fit


def with_width(fields: Any, width: int) -> Any:
    """The fields with WIDTH replaced by the width of this budget."""
    if isinstance(fields, dict):
        return {name: with_width(value, width) for name, value in fields.items()}
    return (width, width) if fields == "hidden" else fields


def flowjax(kind: str, layers: int) -> Callable[[Data, Budget, int], Rows]:
    """A flow of FlowJAX."""
    import equinox as eqx
    import paramax
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow

    def fit(data: Data, budget: Budget, seed: int) -> Rows:
        spline = None if kind == "affine" else RationalQuadraticSpline(knots=BINS, interval=BOUND)
        make = coupling_flow if kind == "coupling" else masked_autoregressive_flow
        base = Normal(jnp.zeros(data.train.shape[1]))
        shape = {"flow_layers": layers, "nn_width": budget.width, "nn_depth": 2}
        flow = make(jax.random.key(seed), base_dist=base, transformer=spline, **shape)
        is_frozen = lambda leaf: isinstance(leaf, paramax.NonTrainable)  # noqa: E731
        params, static = eqx.partition(flow, eqx.is_inexact_array, is_leaf=is_frozen)
        tx = optimizer(budget)

        def whole(params):
            return paramax.unwrap(eqx.combine(params, static))

        @eqx.filter_jit
        def update(params, state, x):
            grads = eqx.filter_grad(lambda p: -whole(p).log_prob(x).mean())(params)
            updates, state = tx.update(grads, state, params)
            return eqx.apply_updates(params, updates), state

        log_prob = eqx.filter_jit(lambda params, x: whole(params).log_prob(x))
        at = [params, tx.init(params)]

        def step(rows: Rows) -> None:
            at[:] = update(*at, jnp.asarray(rows))

        return best_on_validation(data, budget, seed, step, in_blocks(lambda x: log_prob(at[0], jnp.asarray(x))))

    return fit


def zuko(kind: str, layers: int) -> Callable[[Data, Budget, int], Rows]:
    """A flow of zuko."""
    import torch
    from zuko.flows import MAF, NSF

    def fit(data: Data, budget: Budget, seed: int) -> Rows:
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        dim = data.train.shape[1]
        shape = {"transforms": layers, "hidden_features": (budget.width, budget.width)}
        splines = {"bins": BINS, **({"passes": 2} if kind == "coupling" else {})}
        flow = MAF(dim, **shape) if kind == "affine" else NSF(dim, **splines, **shape)
        tx = torch.optim.Adam(flow.parameters(), 1e-3)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(tx, budget.steps)

        def step(rows: Rows) -> None:
            tx.zero_grad()
            (-flow().log_prob(torch.from_numpy(rows)).mean()).backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            tx.step()
            cosine.step()

        def log_prob(rows: Rows) -> np.ndarray:
            with torch.no_grad():
                return flow().log_prob(torch.from_numpy(np.ascontiguousarray(rows))).numpy()

        return best_on_validation(data, budget, seed, step, in_blocks(log_prob))

    return fit


def systems(libraries: list[str]) -> dict[str, Callable[[Data, Budget, int], Rows]]:
    """What is compared, by name."""
    found = ours() if "artifex" in libraries else {}
    for peer, build in (("flowjax", flowjax), ("zuko", zuko)):
        if peer in libraries and importlib.util.find_spec(peer):
            found |= {
                f"{peer}, affine masked, 5 layers": build("affine", 5),
                f"{peer}, spline coupling, 8 layers": build("coupling", 8),
                f"{peer}, spline masked, 5 layers": build("spline", 5),
            }
    return found


def ours() -> dict[str, Callable[[Data, Budget, int], Rows]]:
    """Our models of the comparison."""
    net = {"type": "mlp", "hidden_dims": "hidden"}
    spline = {"bins": BINS, "bound": BOUND}
    return {
        "realnvp, 8 layers": artifex("realnvp", {"n_layers": 8, "net": net}),
        "maf, 5 layers": artifex("maf", {"n_layers": 5, "hidden_dims": "hidden"}),
        "neural_spline, coupling, 8 layers": artifex(
            "neural_spline", {"n_layers": 8, **spline, "transform": {"type": "coupling", "net": net}}
        ),
        "neural_spline, autoregressive, 5 layers": artifex(
            "neural_spline", {"n_layers": 5, **spline, "transform": {"type": "autoregressive", "hidden_dims": "hidden"}}
        ),
    }


def table(title: str, data: Data, budget: Budget, libraries: list[str], true: float | None = None) -> None:
    """Fit every system with every seed, and print test nats, relative to the truth where it is known."""
    print(f"\n{title}: {data.train.shape[1]} numbers, {len(data.train)} rows to train on, {len(data.test)} held out;")
    print(f"  {budget.steps} steps of {BATCH}, width {budget.width}, seeds {list(SEEDS)}; nats", flush=True)
    for name, fit in systems(libraries).items():
        before = time.process_time()
        found = np.stack([fit(data, budget, seed) for seed in SEEDS]) - (true or 0.0)
        error = found.std(1).mean() / np.sqrt(found.shape[1])
        spread = found.mean(1).std(ddof=1) if len(SEEDS) > 1 else 0.0
        seconds = (time.process_time() - before) / len(SEEDS)
        print(f"  {name:<42} {found.mean():9.3f} ± {error:.3f}  seeds {spread:.3f}  {seconds:6.0f} CPU s", flush=True)


def toys(libraries: list[str]) -> None:
    """Points in the plane, against the entropy of the density they come from."""
    for name in TOY_NAMES:
        toy = TOYS[name]
        train, validation, test = (toy.sample(n, (0, i)) for i, n in enumerate((TOY_TRAIN, 2_000, TOY_TEST)))
        mean, std = train.mean(0), train.std(0)
        data = Data(*((part - mean) / std for part in (train, validation, test)))
        true = float(toy.log_prob(test).mean() + np.log(std).sum())
        table(name, data, Budget(TOY_STEPS, TOY_WIDTH), libraries, true)


def uci_rows(name: str) -> Data:
    """The rows of a table that a density can describe, split and standardised."""
    folder = data_folder()
    records = read_csv(folder / "uci_regression" / f"{name}.csv.gz")
    table = np.array([[float(cell) for cell in record] for _, record in records])
    continuous = [i for i in range(table.shape[1]) if len(np.unique(table[:, i])) > DISTINCT]
    rows = np.unique(table[:, continuous], axis=0)
    if len(rows) < 0.9 * len(table):
        raise ValueError(
            f"{name}: expected few duplicate rows, got {len(table) - len(rows)} of {len(table)}. Leave it out."
        )
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    first, second = int(0.8 * len(rows)), int(0.9 * len(rows))
    mean, std = rows[:first].mean(0), rows[:first].std(0)
    return Data(*(((part - mean) / std).astype(np.float32) for part in np.split(rows, [first, second])))


def uci(libraries: list[str]) -> None:
    """Two tables of the regression collection."""
    if data_folder() is None:
        print("\nUCI: left out, no data folder (set ARTIFEX_DATA)")
        return
    for name in UCI:
        table(name, uci_rows(name), Budget(STEPS, WIDTH), libraries)


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="toys, uci")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    options = parser.parse_args()
    if unknown := set(options.parts) - {"toys", "uci"}:
        parser.error(f"expected parts among toys and uci, got {sorted(unknown)}")
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    for part in (toys, uci):
        if part.__name__ in (options.parts or ("toys", "uci")):
            part(options.libraries)


if __name__ == "__main__":
    main()
