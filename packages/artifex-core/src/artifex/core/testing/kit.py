"""The conformance kit: what every registered model must do, ours or a stranger's.

A check is a function of a `Subject` that raises AssertionError. Mandatory checks run for every model; those of
`capabilities` for models that declare one.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import re
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.data.source import ArraySource
from artifex.core.errors import ConfigError
from artifex.core.evaluation.scoring import Scorer
from artifex.core.leaves import Layout, flatten, merge, select
from artifex.core.mesh import ShardingConfig, create_mesh
from artifex.core.protocols import Autoencoder, Bijective, GenerativeModelProtocol, Likelihood, Translator
from artifex.core.registry import load_target, model_record
from artifex.core.saving import load_model
from artifex.core.testing.capabilities import BY_CAPABILITY, check_bound_rises
from artifex.core.testing.events import traced
from artifex.core.testing.expect import close, expect
from artifex.core.testing.subject import Subject, subject
from artifex.core.training.trainer import Trainer

HEAVY = ("jax", "jaxlib", "numpy", "flax", "optax", "orbax", "yaml", "rich")
Check = Callable[[Subject], None]


def check_record(s: Subject) -> None:
    """Name, targets and capabilities are what the record says, and the plugin module is light."""
    expect(re.fullmatch(r"[a-z][a-z0-9_]*", s.record.name), f"{s.record.name!r} is no model name")
    model = s.build()
    expect(type(model) is load_target(s.record.model), f"built {type(model).__name__}, not {s.record.model}")
    expect(isinstance(model, GenerativeModelProtocol), "has not the three methods of a model")
    kind = load_target(s.record.config)
    expect(
        issubclass(kind, ModelConfig) and vars(kind)["__dataclass_params__"].frozen,
        f"{kind.__name__} is no frozen ModelConfig",
    )
    declared = set(s.record.capabilities)
    protocols = {
        "autoencoder": Autoencoder,
        "bijective": Bijective,
        "likelihood": Likelihood,
        "translator": Translator,
    }
    for capability, protocol in protocols.items():
        has = isinstance(model, protocol)
        expect(
            has == (capability in declared),
            f"{capability} is {'not ' if has else ''}declared, and the methods say otherwise",
        )
    expect(bool(model.conditions) == ("conditional" in declared), f"conditions {model.conditions} against {declared}")
    module = next((p.module for p in _plugins() if p.distribution == s.registered.distribution), None)
    if module is not None:
        heavy = _heavy_imports(module)
        expect(not heavy, f"{module} imports {heavy}")


def _plugins() -> Any:
    return importlib.import_module("artifex.core.plugins.loader").installed_plugins()


@functools.cache
def _heavy_imports(module: str) -> str:
    """Heavy packages that importing a plugin module loads, in a process of its own."""
    code = f"import sys, {module}; print(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def check_config(s: Subject) -> None:
    """Hashable, equal after a round trip, strict about unknown fields, and read field by field."""
    kind = type(s.config)
    hash(s.config)
    expect(kind.from_dict(s.config.to_dict()) == s.config, "from_dict(to_dict(c)) is another config")
    try:
        kind.from_dict({**s.config.to_dict(), "no_such_field": 1})
    except ConfigError as error:
        expect("no_such_field" in str(error), "the error does not name the unknown field")
    else:
        raise AssertionError("an unknown field was accepted")
    unread = _unread_fields(s)
    expect(not unread, f"fields that the model never reads: {sorted(unread)}")


def _unread_fields(s: Subject) -> set[str]:
    """Fields that neither construction, loss nor sampling looks at."""
    names = {field.name for field in dataclasses.fields(s.config)}
    seen: set[str] = set()

    def record(self: Any, name: str) -> Any:
        if name in names:
            seen.add(name)
        return object.__getattribute__(self, name)

    spy = type(type(s.config).__name__, (type(s.config),), {"__getattribute__": record})
    config = object.__new__(spy)
    config.__dict__.update(s.config.__dict__)
    model = load_target(s.record.model)(config, rngs=nnx.Rngs(0))
    seen.discard("config")
    s.trainer(model).check(s.batch)
    jax.eval_shape(functools.partial(_draw, flatten(model)[0]), flatten(model)[1], s.conditions(2))
    return names - seen


def _draw(layout: Layout, arrays: Any, conditions: dict[str, jax.Array]) -> jax.Array:
    """Two samples of a model in parts."""
    model = merge(layout, arrays)
    model.eval()
    return model.generate(2, rngs=nnx.Rngs(0), **conditions)


def check_build(s: Subject) -> None:
    """Equal seeds give equal parameters, others differ; both forms of Rngs work; split and merge keep everything."""
    same, again, other = (flatten(s.build(seed))[1] for seed in (0, 0, 1))
    params = select(s.build(), nnx.Param)
    expect(all(_equal(same[p], again[p]) for p in same), "equal seeds give different models")
    expect(any(not _equal(same[p], other[p]) for p in params), "different seeds give equal parameters")
    load_target(s.record.model)(s.config, rngs=nnx.Rngs(params=jax.random.key(0)))
    layout, arrays = flatten(s.build())
    expect(flatten(merge(layout, arrays))[0] == layout, "split and merge change the module")


def _equal(a: jax.Array, b: jax.Array) -> bool:
    return bool(jnp.array_equal(a, b))


def check_loss(s: Subject) -> None:
    """The loss is a finite scalar, for one row too, the same compiled or not, and a second call traces nothing."""
    compiled, eager = s.losses(s.batch), s.losses(s.batch, jit=False)
    for name, value in compiled.items():
        expect(np.isfinite(value).all(), f"{name} is {value}")
        close(value, eager[name], 1e-4, f"{name} differs between jit and eager")
    expect(all(np.shape(v) == () for k, v in compiled.items() if k.endswith("/loss")), "the loss is no scalar")
    if s.additive:
        one = s.losses(s.first_row)
        expect(all(np.isfinite(value).all() for value in one.values()), f"one row gives {one}")
    expect(not s.trained.traced_again, f"training again traced {s.trained.traced_again}")


def check_gradients(s: Subject) -> None:
    """Training moves every parameter that is not frozen, and keeps it finite."""
    before, after = (flatten(model)[1] for model in (s.trained.before, s.trained.after))
    moved = frozenset().union(*(select(s.trained.after, objective.wrt) for objective in s.objectives))
    for path in select(s.trained.after, nnx.Param):
        expect(np.isfinite(after[path]).all(), f"{path} is no longer finite")
        still = np.array_equal(before[path], after[path])
        expect(path not in moved or not after[path].size or not still, f"{path} gets no gradient")


def check_learns(s: Subject) -> None:
    """On one batch, each loss ends lower than it began."""
    rows = s.trained.rows
    tenth = max(1, len(rows) // 10)
    names = [name for name in rows[0] if name.split("/")[-1] == "loss"]
    first = [float(np.mean([row[name] for row in rows[:tenth]])) for name in names]
    last = [float(np.mean([row[name] for row in rows[-tenth:]])) for name in names]
    if len(names) == 1:
        expect(last[0] < first[0], f"the loss went from {first[0]} to {last[0]}")
    expect(all(np.isfinite(last)), f"losses end at {last}")


def check_mask(s: Subject) -> None:
    """A loss with a weight is the mean over the rows whose mask is 1, whatever the others hold."""
    terms = s.losses(s.batch)
    if not s.additive or not any(name.endswith("/weight") for name in terms):
        return
    bad = {name: np.array(x) for name, x in s.batch.items()}
    bad["x"][1:] = np.nan if bad["x"].dtype.kind == "f" else 0
    masked = s.losses({**bad, "mask": (np.arange(s.n) < 1).astype(np.float32)})
    alone = s.losses(s.first_row)
    for name in (name for name in alone if name.endswith(("/loss", "/weight"))):
        close(masked[name], alone[name], 1e-5, f"{name} looks at masked rows")


def check_generate(s: Subject) -> None:
    """Samples have the data's shape, follow the key, and sample i does not depend on how many are drawn at once."""
    model = s.trained.after
    shape = ArraySource(s.batch).spec.shape
    draw = functools.partial(model.sample, **s.conditions(5))
    x = np.asarray(draw(5, rngs=nnx.Rngs(0)))
    expect(x.shape == (5, *shape), f"samples of shape {x.shape}, data of shape {shape}")
    expect(np.isfinite(x).all(), "samples are not finite")
    expect(np.array_equal(x, draw(5, rngs=nnx.Rngs(0))), "equal keys give different samples")
    translates = isinstance(model, Translator)
    if not translates:  # the only noise of a translator may be its source
        _check_keys(functools.partial(draw, 5))
    chunked = np.asarray(draw(5, rngs=nnx.Rngs(0), batch_size=2))
    alone = np.asarray(model.sample(2, rngs=nnx.Rngs(0), **s.conditions(2)))
    close(chunked, x, 1e-5, "chunks change the samples")
    close(alone, x[:2], 1e-5, "the number of samples changes them")


def _check_keys(draw: Callable[..., jax.Array]) -> None:
    """Other keys, and other calls without one, give other samples."""
    # Many draws, because samples that take few values can be equal by chance.
    other, own = [], []
    for seed in range(12):
        other.append(np.asarray(draw(rngs=nnx.Rngs(seed))))
        own.append(np.asarray(draw()))
    expect(any(not np.array_equal(x, other[0]) for x in other), "different keys give equal samples")
    expect(any(not np.array_equal(x, own[0]) for x in own), "two calls without rngs give equal samples")


def check_no_retrace(s: Subject) -> None:
    """A second call of `sample` with the same shapes traces and compiles nothing."""
    model = s.trained.after
    model.sample(5, rngs=nnx.Rngs(0), **s.conditions(5))
    rngs = nnx.Rngs(1)
    with traced() as events:
        model.sample(5, rngs=rngs, **s.conditions(5))
    expect(not events, f"sampling again traced {events}")


def check_save(s: Subject) -> None:
    """A saved model gives the same samples, in a fresh process where it is installed."""
    model = s.trained.after
    expected = np.asarray(model.sample(5, rngs=nnx.Rngs(0), **s.conditions(5)))
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model"
        model.save(saved)
        again = load_model(saved).sample(5, rngs=nnx.Rngs(0), **s.conditions(5))
        close(again, expected, 0.0, "the loaded model samples otherwise")
        if s.registered.distribution != "in process":
            close(_sample_elsewhere(saved, Path(folder), s), expected, 1e-6, "a fresh process samples otherwise")


def _sample_elsewhere(saved: Path, folder: Path, s: Subject) -> np.ndarray:
    np.savez(folder / "conditions.npz", **s.conditions(5))
    code = (
        "import numpy as np; from flax import nnx; from artifex.core import load_model\n"
        f"c = dict(np.load({str(folder / 'conditions.npz')!r}))\n"
        f"x = load_model({str(saved)!r}).sample(5, rngs=nnx.Rngs(0), **c); np.save({str(folder / 'x.npy')!r}, x)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"a fresh process fails: {done.stderr[-500:]}")
    return np.load(folder / "x.npy")


def check_resume(s: Subject) -> None:
    """10 + 10 steps through a checkpoint equal 20, bit for bit, with averaging, a schedule and parts of batches on."""
    with tempfile.TemporaryDirectory() as folder:
        whole = s.trainer()
        whole.fit(s.batch, steps=20)
        s.trainer(run_dir=f"{folder}/run").fit(s.batch, steps=10)
        second = Trainer.resume(f"{folder}/run", model=s.build(seed=1))
        second.fit(s.batch, steps=10)
        for a, b in zip(jax.tree.leaves(whole.state), jax.tree.leaves(second.state), strict=True):
            expect(_equal(a, b), "the resumed run ends in another state")


def check_sharded(s: Subject) -> None:
    """On all devices, by fsdp and by data, fsdp and tensor at once, the losses are those of one device."""
    devices = jax.device_count()
    expect(devices > 1, f"one device only; set JAX_NUM_CPU_DEVICES=8 (got {devices})")
    shards = next(n for n in (8, 4, 2, 1) if n <= devices and s.n % (n * s.parts) == 0)
    meshes: dict[str, Any] = {
        "fsdp": ShardingConfig(data_parallel_size=shards, fsdp_enabled=True, fsdp_min_weight_size=16),
    }
    if shards == 8:
        meshes["2 x 2 x 2"] = create_mesh(data=2, fsdp=2, tensor=2)
    for name, mesh in meshes.items():
        for one, many in zip(s.trained.rows[:5], s.trainer(mesh=mesh).fit(s.batch, steps=5), strict=True):
            for term in (term for term in one if term.split("/")[-1] == "loss"):
                close(many[term], one[term], 1e-5, f"{term} at step {one['step']:.0f} on the mesh {name}")


def check_bfloat16(s: Subject) -> None:
    """In bfloat16, three steps are finite, the products of matrices are bfloat16, and the parameters stay float32."""
    trainer = s.trainer(compute_dtype="bfloat16")
    rows = trainer.fit(s.batch, steps=3)
    expect(all(np.isfinite(list(row.values())).all() for row in rows), f"losses {rows}")
    kinds = {str(x.dtype) for x in trainer.state.params.values()}
    expect(kinds == {s.config.dtype}, f"parameters are {kinds}")
    products = re.findall(
        r"stablehlo\.(?:dot_general|convolution).*?:\s*\(tensor<[^>]*x(\w+)>, tensor<[^>]*x(\w+)>",
        trainer.lower(s.batch).as_text(),
    )
    # The gradient of jax's attention multiplies float32, from its softmax, by bfloat16.
    share = sum("bf16" in factors for factors in products) / max(len(products), 1)
    expect(not products or share >= 0.95, f"{share:.2f} of {len(products)} products are bfloat16")


MANDATORY: dict[str, Check] = {
    "record": check_record,
    "config": check_config,
    "build": check_build,
    "loss": check_loss,
    "gradients": check_gradients,
    "learns": check_learns,
    "mask": check_mask,
    "generate": check_generate,
    "no_retrace": check_no_retrace,
    "save": check_save,
    "resume": check_resume,
    "sharded": check_sharded,
    "bfloat16": check_bfloat16,
}


class Outcome(NamedTuple):
    """What a check said."""

    check: str
    status: Literal["passed", "failed"]
    reason: str = ""


def checks_of(name: str) -> dict[str, Check]:
    """The checks that a model must pass: the mandatory ones, and those of its capabilities."""
    record = model_record(name)
    found = dict(MANDATORY)
    found |= {c: BY_CAPABILITY[c] for c in record.capabilities if c in BY_CAPABILITY}
    if issubclass(load_target(record.model), Scorer | Likelihood):
        found["bound_rises"] = check_bound_rises
    return found


def run_checks(name: str) -> list[Outcome]:
    """All checks of a model, each on its own."""
    outcomes = []
    for check, function in checks_of(name).items():
        try:
            function(subject(name))
        except (AssertionError, ValueError, TypeError, RuntimeError, LookupError, AttributeError, OSError) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            reason = (
                f"{error}" if isinstance(error, AssertionError) else f"{type(error).__name__}: {error} ({where.name})"
            )
            outcomes.append(Outcome(check, "failed", reason.splitlines()[0][:400]))
        else:
            outcomes.append(Outcome(check, "passed"))
    return outcomes
