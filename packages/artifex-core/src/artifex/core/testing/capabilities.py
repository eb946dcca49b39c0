"""What a model that declares a capability must do beyond the mandatory checks of `kit`.

autoencoder   training brings decode(encode(x)) nearer to x
bijective     inverse(forward(x)) = x, and log_det = log |det ∂z/∂x| by autodiff                             (1)
conditional   loss and samples follow the condition
likelihood    ∫ exp(log_prob) dx = 1                                                                         (2)
translator    each translation follows its own source, and no other row's
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from artifex.core.data.source import ArraySource
from artifex.core.evaluation.scoring import Scorer
from artifex.core.leaves import flatten, merge
from artifex.core.prob.noise import RowRngs
from artifex.core.testing.expect import close, expect
from artifex.core.testing.subject import Subject


def check_bound_rises(s: Subject) -> None:
    """Training raises the model's own log-likelihood, or its bound, of the batch."""
    scores = [_mean_score(s, model) for model in (s.trained.before, s.trained.after)]
    expect(scores[1] > scores[0], f"the mean score went from {scores[0]} to {scores[1]} nats")


def _mean_score(s: Subject, model: Any) -> float:
    layout, arrays = flatten(model)

    def run(arrays: Any, key: jax.Array) -> jax.Array:
        module = merge(layout, arrays)
        module.eval()
        x, given = jnp.asarray(s.batch["x"]), jax.tree.map(jnp.asarray, s.conditions(s.n))
        if isinstance(module, Scorer):
            return next(iter(module.scores(x, rngs=RowRngs(key), **given).values())).mean()
        return module.log_prob(x, **given).mean()

    return float(np.mean([jax.jit(run)(arrays, jax.random.key(i)) for i in range(8)]))


def check_autoencoder(s: Subject) -> None:
    """Training brings decode(encode(x)) nearer to x."""
    errors = []
    for model in (s.trained.before, s.trained.after):
        model.eval()
        x = jnp.asarray(s.batch["x"])
        errors.append(float(jnp.mean((model.decode(model.encode(x)) - x) ** 2)))
    expect(errors[1] < errors[0], f"the squared error went from {errors[0]} to {errors[1]}")


def check_conditional(s: Subject) -> None:
    """Once trained, another condition changes the loss and the samples; a new network may start as a constant."""
    model = s.trained.after
    name = model.conditions[0]
    # One condition for all rows, not another order of them, which unpaired models rightly ignore.
    other = np.repeat(np.asarray(s.batch[name])[:1], s.n, axis=0)
    a, b = s.losses(s.batch, of=model), s.losses({**s.batch, name: other}, of=model)
    expect(any(float(a[k]) != float(b[k]) for k in a if k.endswith("/loss")), "the loss ignores the condition")
    given = s.conditions(s.n)
    x = np.asarray(model.sample(s.n, rngs=nnx.Rngs(0), **given))
    y = np.asarray(model.sample(s.n, rngs=nnx.Rngs(0), **{**given, name: other}))
    expect(not np.array_equal(x, y), "the samples ignore the condition")


def check_likelihood(s: Subject) -> None:
    """exp(log_prob) integrates to 1 on a grid, for events of one or two numbers, given one condition."""
    model = s.trained.after
    shape = ArraySource(s.batch).spec.shape
    size = int(np.prod(shape))
    if size > 2:
        return
    reach = 4 * float(np.abs(s.batch["x"]).max()) + 4
    side = np.linspace(-reach, reach, 4001 if size == 1 else 401)
    grid = np.stack(np.meshgrid(*[side] * size), -1).reshape(-1, *shape).astype(np.float32)
    given = {name: jnp.repeat(y, len(grid), axis=0) for name, y in s.conditions(1).items()}
    model.eval()
    log_prob = np.asarray(model.log_prob(jnp.asarray(grid), **given), np.float64)
    mass = float(np.exp(log_prob).sum()) * (side[1] - side[0]) ** size
    expect(abs(mass - 1) < 1e-2, f"the density integrates to {mass}")


def check_bijective(s: Subject) -> None:
    """The inverse undoes the forward direction, and log_det is that of the autodiff Jacobian (eq. 1)."""
    layout, arrays = flatten(s.trained.after)
    x, given = jnp.asarray(s.batch["x"][:2]), jax.tree.map(jnp.asarray, s.conditions(2))

    def run(arrays: Any, x: jax.Array, given: dict[str, jax.Array]) -> Any:
        model = merge(layout, arrays)
        model.eval()
        z, log_det = model.forward(x, **given)
        again, back = model.inverse(z, **given)

        def one(row: jax.Array, given: dict[str, jax.Array]) -> jax.Array:
            z, _ = model.forward(row.reshape(1, *x.shape[1:]), **jax.tree.map(lambda y: y[None], given))
            return z.ravel()

        jacobian = jax.vmap(jax.jacfwd(one))(x.reshape(len(x), -1), given)
        return again, log_det, back, jnp.linalg.slogdet(jacobian)[1]

    again, log_det, back, exact = jax.jit(run)(arrays, x, given)
    close(again, x, 1e-4, "the inverse does not undo the forward direction")
    close(log_det, exact, 1e-4, "log_det is not that of the Jacobian")
    close(back, -log_det, 1e-4, "the directions' log_dets do not add up to 0")


def check_translator(s: Subject) -> None:
    """Another source in row 0 changes the translation of row 0 and no other, and translations have the data's shape."""
    layout, arrays = flatten(s.trained.after)

    def translated(source: jax.Array) -> np.ndarray:
        return np.asarray(run(arrays, source, jax.random.key(0)))

    @jax.jit
    def run(arrays: Any, source: jax.Array, key: jax.Array) -> jax.Array:
        model = merge(layout, arrays)
        model.eval()
        return model.translate(source, rngs=RowRngs(key))

    source = jnp.asarray(s.batch[s.trained.after.conditions[0]])
    before, after = translated(source), translated(source.at[0].set(source[-1]))
    expect(before.shape == s.batch["x"].shape, f"translations of shape {before.shape}, data {s.batch['x'].shape}")
    expect(not np.array_equal(before[0], after[0]), "a translation ignores its source")
    close(after[1:], before[1:], 1e-5, "a translation looks at other rows")


BY_CAPABILITY: dict[str, Callable[[Subject], None]] = {
    "autoencoder": check_autoencoder,
    "bijective": check_bijective,
    "conditional": check_conditional,
    "likelihood": check_likelihood,
    "translator": check_translator,
}
