"""Held-out density of the flows beside FlowJAX and zuko, on equal budgets.

Points in the plane with a known density: what is printed is E log p_model − E log p_true over held-out points, the
negative KL divergence in nats, at best 0. protein and kin40k: their columns with more than 1,000 distinct values,
duplicate rows removed, sorted, split 80/10/10 by `default_rng(0).permutation`, standardised by the training part; test
nats of the parameters that were best on the validation part. The other tables of that folder have integer or repeated
columns, where a density grows without bound, and are left out.

All systems: LAYERS layers with networks of two layers of WIDTH units, Adam at RATE with a cosine, gradients clipped at
norm 5, the same batches in the same order, some seeds. Our spline couplings stand behind reversals and LU maps, not
behind drawn permutations as by default; networks have relu, but ours of the kind "spline masked silu". Both were chosen
on a part of the training rows of kin40k and protein, which the other libraries' settings were not.
The budget is small, so that all of it runs within an hour: the numbers rank what the libraries learn from it, not what
their flows reach. ± is the standard error over test rows, then comes the spread of the seeds. `ours better by` is the
mean difference to our flow of that kind, ± its standard error: over test rows, paired, and over seeds. Seconds are of
the CPU, one seed, compiling included unless a cache holds it.

    python benchmarks/flow_density.py [SET ...] [--kinds KIND ...] [--libraries artifex flowjax zuko]
                                       [--seeds 3]
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

LAYERS, BATCH, RATE, CHECKS = 4, 256, 2e-3, 8
TOY_TRAIN, TOY_TEST = 20_000, 10_000
TOY_NAMES = ("two_moons", "checkerboard", "rings")
UCI = ("protein", "kin40k")
LIBRARIES = ("artifex", "flowjax", "zuko")
KINDS = ("affine coupling", "affine masked", "spline coupling", "spline masked")
SMOOTH = "spline masked silu"  # ours with another activation, where the others keep relu
DISTINCT = 1000  # a column with fewer values is no sample of a density
BINS, BOUND = 8, 4.0
SPLINE: dict[str, Any] = {"bins": BINS, "bound": BOUND}

Rows = np.ndarray
LogProb = Callable[[Rows], np.ndarray]


class Data(NamedTuple):
    """Standardised rows."""

    train: Rows
    validation: Rows
    test: Rows


class Compared(NamedTuple):
    """What is set side by side."""

    kinds: list[str]
    libraries: list[str]
    seeds: range


class Budget(NamedTuple):
    """How long and how wide."""

    steps: int
    width: int


TOY, TABLE = Budget(600, 64), Budget(800, 128)


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
    return optax.chain(optax.clip_by_global_norm(5.0), optax.adam(optax.cosine_decay_schedule(RATE, budget.steps)))


def in_blocks(log_prob: Callable[[Any], Any]) -> LogProb:
    """log p of many rows through a program for a fixed number of them."""

    def evaluate(rows: Rows) -> np.ndarray:
        pad = -len(rows) % 2048
        padded = np.concatenate([rows, np.repeat(rows[-1:], pad, 0)])
        return np.concatenate([np.asarray(log_prob(part)) for part in np.split(padded, len(padded) // 2048)])[
            : len(rows)
        ]

    return evaluate


def artifex(kind: str) -> Callable[[Data, Budget, int], Rows]:
    """One of our models."""

    def fit(data: Data, budget: Budget, seed: int) -> Rows:
        name, fields = ours(kind, (budget.width, budget.width))
        model = create_model(name, rngs=nnx.Rngs(seed), dim=data.train.shape[1], n_layers=LAYERS, **fields)
        if "initialised" in vars(model):
            initialise_once(model, {"x": jnp.asarray(data.train[:BATCH])}, None)
        layout, arrays = flatten(model)
        params = {k: arrays[k] for k in select(model, nnx.Param)}
        rest = {k: a for k, a in arrays.items() if k not in params}
        tx = optimizer(budget)

        def update(params, state, rest, x):
            grads = jax.grad(lambda p: -merge(layout, p | rest).log_prob(x).mean())(params)
            updates, state = tx.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        update = jax.jit(update, donate_argnums=(0, 1))
        log_prob = jax.jit(lambda params, rest, x: merge(layout, params | rest).log_prob(x))
        at = [params, tx.init(params)]

        def step(rows: Rows) -> None:
            at[:] = update(*at, rest, rows)

        return best_on_validation(data, budget, seed, step, in_blocks(lambda rows: log_prob(at[0], rest, rows)))

    return fit


def ours(kind: str, hidden: tuple[int, int]) -> tuple[str, dict[str, Any]]:
    """The name and the fields of our model of a kind."""
    net = {"type": "mlp", "hidden_dims": hidden}
    coupling = {"type": "coupling", "net": net}
    masked = {"type": "autoregressive", "hidden_dims": hidden}
    return {
        "affine coupling": ("realnvp", {"net": net}),
        "affine masked": ("maf", {"hidden_dims": hidden}),
        "spline coupling": ("neural_spline", {**SPLINE, "mixing": "reverse_lu", "transform": coupling}),
        "spline masked": ("neural_spline", {**SPLINE, "transform": masked}),
        SMOOTH: ("neural_spline", {**SPLINE, "transform": {**masked, "activation": "silu"}}),
    }[kind]


def flowjax(kind: str) -> Callable[[Data, Budget, int], Rows]:
    """A flow of FlowJAX."""
    import equinox as eqx
    import paramax
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow, masked_autoregressive_flow

    def fit(data: Data, budget: Budget, seed: int) -> Rows:
        spline = RationalQuadraticSpline(knots=BINS, interval=BOUND) if "spline" in kind else None
        make = coupling_flow if "coupling" in kind else masked_autoregressive_flow
        base = Normal(jnp.zeros(data.train.shape[1]))
        shape = {"flow_layers": LAYERS, "nn_width": budget.width, "nn_depth": 2}
        flow = make(jax.random.key(seed), base_dist=base, transformer=spline, **shape)
        is_frozen = lambda leaf: isinstance(leaf, paramax.NonTrainable)  # noqa: E731
        params, static = eqx.partition(flow, eqx.is_inexact_array, is_leaf=is_frozen)
        tx = optimizer(budget)

        def whole(params, static):
            return paramax.unwrap(eqx.combine(params, static))

        @eqx.filter_jit
        def update(params, state, static, x):
            grads = eqx.filter_grad(lambda p: -whole(p, static).log_prob(x).mean())(params)
            updates, state = tx.update(grads, state, params)
            return eqx.apply_updates(params, updates), state

        log_prob = eqx.filter_jit(lambda params, static, x: whole(params, static).log_prob(x))
        at = [params, tx.init(params)]

        def step(rows: Rows) -> None:
            at[:] = update(*at, static, jnp.asarray(rows))

        evaluate = in_blocks(lambda rows: log_prob(at[0], static, jnp.asarray(rows)))
        return best_on_validation(data, budget, seed, step, evaluate)

    return fit


def zuko(kind: str) -> Callable[[Data, Budget, int], Rows]:
    """A flow of zuko."""
    import torch
    from zuko.flows import MAF, NSF

    def fit(data: Data, budget: Budget, seed: int) -> Rows:
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        dim = data.train.shape[1]
        shape = {"transforms": LAYERS, "hidden_features": (budget.width, budget.width)}
        passes = {"passes": 2} if "coupling" in kind else {}
        flow = NSF(dim, bins=BINS, **passes, **shape) if "spline" in kind else MAF(dim, **passes, **shape)
        tx = torch.optim.Adam(flow.parameters(), RATE)
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


BUILDERS = {"artifex": artifex, "flowjax": flowjax, "zuko": zuko}


def table(title: str, data: Data, budget: Budget, compared: Compared, true: Rows | float = 0.0) -> None:
    """Fit every system with every seed, and print test nats, relative to the truth where it is known."""
    print(f"\n{title}: {data.train.shape[1]} numbers, {len(data.train)} rows to train on, {len(data.test)} held out;")
    print(f"  {budget.steps} steps of {BATCH}, {LAYERS} layers, width {budget.width}, seeds {list(compared.seeds)}")
    print(f"  {'nats':<28} {'':>17} {'seeds':>7} {'ours better by':>18} {'CPU s':>7}", flush=True)
    for kind in compared.kinds:
        reference = None
        for library in compared.libraries:
            before = time.process_time()
            fit = BUILDERS[library](kind)
            found = np.stack([fit(data, budget, seed) for seed in compared.seeds]) - true  # [seed, row]
            seconds = (time.process_time() - before) / len(compared.seeds)
            reference = found if library == "artifex" else reference
            gain = "" if library == "artifex" or reference is None else better(reference, found)
            value = f"{found.mean():9.3f} ± {standard_error(found.mean(0)):.3f}"
            label = f"{kind}, {library}"
            print(f"  {label:<28} {value:>17} {spread(found):7.3f} {gain:>18} {seconds:7.0f}", flush=True)


def better(ours: Rows, theirs: Rows) -> str:
    """By how much the first is better: the mean over seeds and rows, and its standard error."""
    rows = standard_error(ours.mean(0) - theirs.mean(0))
    error = np.hypot(rows, np.hypot(spread(ours), spread(theirs)) / np.sqrt(len(ours)))
    return f"{ours.mean() - theirs.mean():+.3f} ± {error:.3f}"


def standard_error(values: Rows) -> float:
    """Of the mean of independent values."""
    return values.std(ddof=1) / np.sqrt(len(values))


def spread(found: Rows) -> float:
    """The standard deviation of the means of the seeds."""
    return found.mean(1).std(ddof=1) if len(found) > 1 else 0.0


def toy_table(name: str, compared: Compared) -> None:
    """Points in the plane, against the entropy of the density they come from."""
    toy = TOYS[name]
    train, validation, test = (toy.sample(n, (0, i)) for i, n in enumerate((TOY_TRAIN, 2_000, TOY_TEST)))
    mean, std = train.mean(0), train.std(0)
    data = Data(*((part - mean) / std for part in (train, validation, test)))
    true = toy.log_prob(test) + np.log(std).sum()
    table(name, data, TOY, compared, true)


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


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join((*TOY_NAMES, *UCI)))
    parser.add_argument("--kinds", nargs="+", choices=(*KINDS, SMOOTH), default=KINDS)
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    options = parser.parse_args()
    if unknown := set(options.sets) - {*TOY_NAMES, *UCI}:
        parser.error(f"expected sets among {', '.join((*TOY_NAMES, *UCI))}, got {sorted(unknown)}")
    libraries = [name for name in options.libraries if name == "artifex" or importlib.util.find_spec(name)]
    compared = Compared(options.kinds, libraries, range(options.seeds))
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, one thread")
    for name in options.sets or (*TOY_NAMES, *UCI):
        if name in TOY_NAMES:
            toy_table(name, compared)
        elif data_folder() is None:
            print(f"\n{name}: left out, no data folder (set ARTIFEX_DATA)")
        else:
            table(name, uci_rows(name), TABLE, compared)


if __name__ == "__main__":
    main()
