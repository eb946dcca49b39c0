"""What every model does around its denoiser: the data's range, labels, guidance by labels, and the draw itself.

    x_T ~ N(0, σ_T²), or N(0, 1) where the schedule preserves variance,   x = solve(denoise, x_T)                 (1)
Data in `data_range` are mapped onto [−1, 1] for the network, and samples are clipped and mapped back, at the end only.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec
from artifex.core.errors import did_you_mean
from artifex.core.prob import noise
from artifex.diffusion.grid import Grid
from artifex.diffusion.guidance import labelled_cfg
from artifex.diffusion.multistep import DEIS, LMS, PNDM, DPMSolver, UniPC
from artifex.diffusion.networks import AnyNetwork
from artifex.diffusion.prediction import Condition, Data, Denoise, Denoiser
from artifex.diffusion.solver import RK4, DDIMSolver, Euler, Heun, Solver, solve
from artifex.diffusion.stochastic import Ancestral, AnnealedLangevin, EulerAncestral, EulerMaruyama, PredictorCorrector

DataRange = tuple[float, float] | None
AnySolver = (
    DDIMSolver
    | Euler
    | Heun
    | RK4
    | DPMSolver
    | UniPC
    | DEIS
    | LMS
    | PNDM
    | Ancestral
    | EulerAncestral
    | EulerMaruyama
    | PredictorCorrector
    | AnnealedLangevin
)
SOLVERS: dict[str, Any] = {kind.tag: kind for kind in AnySolver.__args__}


class Labelled(Protocol):
    """What a config tells about data and labels."""

    network: Any
    data_range: DataRange
    label_dropout: float


def inward(x: Data, data_range: DataRange) -> Data:
    """Data mapped onto [−1, 1]; as they are without a range."""
    if data_range is None:
        return x
    low, high = data_range
    return 2 * (x - low) / (high - low) - 1


def outward(x: Data, data_range: DataRange) -> Data:
    """Samples clipped to [−1, 1] and mapped back; as they are without a range."""
    if data_range is None:
        return x
    low, high = data_range
    return low + 0.5 * (jnp.clip(x, -1, 1) + 1) * (high - low)


def log_scale(shape: tuple[int, ...], data_range: DataRange) -> float:
    """log |∂ inward(x)/∂x| of an event."""
    return 0.0 if data_range is None else math.prod(shape) * math.log(2 / (data_range[1] - data_range[0]))


def labels(config: Labelled, y: Any, n: int) -> Condition | None:
    """One label per row: those given, or "no class"; None for a network without classes.

    Raises:
        ValueError: labels that the network has no classes for, out of range, or too many.
    """
    n_classes = config.network.n_classes
    where = type(config).__name__
    if n_classes is None:
        if y is not None:
            raise ValueError(f"{where}: expected no 'y', got one. Set model.network.n_classes to train on labels.")
        return None
    if y is None:
        return jnp.full(n, n_classes, jnp.int32)
    y = jnp.asarray(y)
    if y.ndim and y.shape[0] != n:
        raise ValueError(f"{where}: expected one 'y' a sample, so {n}, got {y.shape[0]}. Or give one for all.")
    if not isinstance(y, Tracer) and y.size and not 0 <= int(y.min()) <= int(y.max()) < n_classes:
        raise ValueError(
            f"{where}: expected 'y' in 0 … {n_classes - 1}, got {int(y.min())} … {int(y.max())}. "
            "Set model.network.n_classes to the number of classes."
        )
    return jnp.broadcast_to(y, (n,)) if y.ndim == 0 else y


def drop_labels(config: Labelled, y: Condition | None, rngs: nnx.Rngs) -> Condition | None:
    """Labels of which a share is "no class", so that one network learns both."""
    if config.label_dropout == 0 or y is None:
        return y
    dropped = noise.uniform(rngs, y.shape[:1]) < config.label_dropout
    return jnp.where(dropped, config.network.n_classes, y)


def condition_on_labels(model: Any, n_classes: int | None) -> None:
    """Let a model ask for `y` where its network has classes."""
    setattr(model, "conditions", () if n_classes is None else ("y",))  # noqa: B010 - a class attribute for others


def labelled_denoiser(
    config: Labelled, denoiser: Denoiser, y: Any, guidance: float | Float[Array, ""] | None, n: int
) -> Denoise:
    """x₀ given the labels, guided where a scale is given.

    Raises:
        ValueError: guidance without labels, or of a model that never saw "no class".
    """
    given = labels(config, y, n)
    if guidance is None:
        return lambda xt, t: denoiser(xt, t, given)
    where = type(config).__name__
    if y is None or given is None:
        raise ValueError(f"{where}: expected 'y' beside 'guidance', got none. Without labels leave guidance out.")
    if config.label_dropout == 0:
        raise ValueError(
            f"{where}: expected a model trained with label_dropout > 0 for 'guidance', got 0. "
            "It has never seen a row without its label."
        )
    return labelled_cfg(denoiser, (given, jnp.full_like(given, config.network.n_classes)), guidance)


def draw(
    denoise: Denoise, grid: Grid, solver: Solver, shape: tuple[int, ...], *, xt: Data | None, rngs: nnx.Rngs
) -> Data:
    """Samples of `shape` from noise, or from `xt` (eq. 1); float32 between steps, whatever the network computes in."""
    start = start_scale(grid) * noise.normal(rngs, shape) if xt is None else xt
    return solve(denoise, start, grid, solver, rngs=rngs)  # eq. 1


def start_scale(grid: Grid) -> float:
    """The deviation of noisy data at the first place, if data have deviation 1 or are drowned (eq. 1)."""
    both = math.hypot(grid.alpha[0], grid.sigma[0])
    return both if both <= 1 + 1e-6 else float(grid.sigma[0])


def solver_named(solver: Solver | str | None, default: Solver) -> Solver:
    """The solver itself, the one of that name with its defaults, or the default."""
    if not isinstance(solver, str):
        return default if solver is None else solver
    if solver not in SOLVERS:
        raise LookupError(
            f"generate: expected a solver among {sorted(SOLVERS)}, got {solver!r}.{did_you_mean(solver, SOLVERS)}"
        )
    return SOLVERS[solver]()


def check_labels(where: str, network: AnyNetwork, label_dropout: float, data_range: DataRange) -> None:
    """Refuse a share that is none or drops nothing, and a range that is empty."""
    if not 0 <= label_dropout < 1:
        raise ValueError(f"{where}: expected 'label_dropout' in [0, 1), got {label_dropout}. 0.1 is usual.")
    if label_dropout and network.n_classes is None:
        raise ValueError(
            f"{where}: expected 'label_dropout' 0 without classes, got {label_dropout}. Set network.n_classes."
        )
    if data_range is not None and not data_range[0] < data_range[1]:
        raise ValueError(f"{where}: expected 'data_range' as (low, high), got {data_range}. Leave it out for none.")


def check_data(config: Labelled, spec: DataSpec) -> None:
    """Refuse data of another shape, range or number of classes than the network's."""
    where, network = type(config).__name__, config.network
    if spec.shape != network.shape:
        raise ValueError(
            f"{where}: expected data of shape {network.shape}, got {spec.shape}. "
            f"Set model.network.shape to {list(spec.shape)}."
        )
    if not np.issubdtype(np.dtype(spec.dtype), np.floating):
        raise ValueError(f"{where}: expected data of floats, got {spec.dtype}. Divide pictures of bytes by 255.")
    known = spec.low is not None and spec.high is not None
    expected = config.data_range or ((-1.0, 1.0) if spec.kind == "image" else (spec.low, spec.high))
    if known and expected != (spec.low, spec.high):
        raise ValueError(
            f"{where}: expected data in {list(expected)}, got [{spec.low}, {spec.high}]. "
            f"Set model.data_range to [{spec.low}, {spec.high}]."
        )
    if network.n_classes is not None and spec.n_classes != network.n_classes:
        raise ValueError(
            f"{where}: expected labels of {network.n_classes} classes, got {spec.n_classes}. "
            "Set model.network.n_classes to that of the data."
        )
