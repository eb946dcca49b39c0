"""Use one distribution as a stranger has it: from its wheel, in a fresh environment, outside the tree.

    python smoke.py artifex-vae

Every module imports, the command lists the models, every model is built and its loss and samples are traced, and the
environment holds what it should and weighs what it may.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import pkgutil
import subprocess
import sys
import sysconfig
from pathlib import Path

FORBIDDEN = {"torch", "tensorflow", "tensorflow-probability", "pytest", "jaxlib-nightly"}
MOST_DISTRIBUTIONS = 45  # that core brings
MOST_BYTES = 900_000_000
IMPORT_RATIO = 1.25  # `from artifex.vae import VAE` against `from flax import nnx`


def main(distribution: str) -> None:
    """All checks; the first that fails ends the run."""
    short = distribution.removeprefix("artifex-")
    check_environment(distribution)
    check_command()
    modules = import_all(short)
    models = check_models(distribution)
    if short != "core":
        check_import_time(short)
    print(f"{distribution}: {modules} modules and {models} models work outside the tree")


def check_environment(distribution: str) -> None:
    """Core alone is small, nothing foreign slipped in, and what runs is what was installed."""
    installed = {str(found.name).lower() for found in importlib.metadata.distributions()}
    expect("no foreign framework", set(), installed & FORBIDDEN)
    ours = {name for name in installed if name.startswith("artifex-")}
    expect("our distributions", {"artifex-core", distribution}, ours)
    counted = len(installed - ours - {"pip", "setuptools", "wheel"}) + 1
    print(f"{distribution}: {counted} distributions")
    expect(f"at most {MOST_DISTRIBUTIONS} distributions", True, counted <= MOST_DISTRIBUTIONS or counted)
    site = Path(sysconfig.get_path("purelib"))
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc")
    print(f"{distribution}: {size / 1e6:.0f} MB")
    expect(f"at most {MOST_BYTES} bytes", True, size <= MOST_BYTES or size)
    core = importlib.import_module("artifex.core").__file__ or ""
    expect("the installed artifex.core", True, Path(core).is_relative_to(site) or core)


def check_command() -> None:
    """`artifex list-models --json` prints an object of schema 1."""
    command = Path(sysconfig.get_path("scripts")) / "artifex"
    done = subprocess.run([command, "list-models", "--json"], capture_output=True, text=True, check=True)
    expect("schema", 1, json.loads(done.stdout)["schema"])
    expect("nothing on stderr", "", done.stderr)


def import_all(short: str) -> int:
    """Every module of the package imports with nothing but what is declared."""
    package = importlib.import_module(f"artifex.{short}")
    names = [found.name for found in pkgutil.walk_packages(package.__path__, f"artifex.{short}.")]
    for name in names:
        if ".testing" not in name:  # the conformance kit needs the extra `test`
            importlib.import_module(name)
    return len(names)


def check_models(distribution: str) -> int:
    """Every model of the distribution is built, and its loss and samples can be traced; compiling is for its tests."""
    import jax
    from flax import nnx

    from artifex.core import create_model, list_models
    from artifex.core.leaves import flatten, merge
    from artifex.core.registry import load_target

    models = [model for model in list_models() if model.distribution == distribution]
    for model in models:
        config, batch = load_target(model.record.example)()
        layout, arrays = flatten(create_model(config, rngs=nnx.Rngs(0)))
        names = merge(layout, arrays).conditions

        def use(arrays: dict, batch: dict, layout: object = layout, names: tuple = names) -> tuple:
            built = merge(layout, arrays)
            outputs = built(batch["x"], rngs=nnx.Rngs(1), **{name: batch[name] for name in names})
            rows = {name: batch[name][:2] for name in names}
            return built.loss_fn(batch, outputs)["loss"], merge(layout, arrays).generate(2, rngs=nnx.Rngs(2), **rows)

        loss, samples = jax.eval_shape(use, arrays, batch)
        expect(f"{model.name}: a scalar loss", (), loss.shape)
        expect(f"{model.name}: two samples", 2, samples.shape[0])
    return len(models)


def check_import_time(short: str) -> None:
    """Importing the face of a family costs little beyond flax, in CPU seconds: the least of five, by turns."""
    face = importlib.import_module(f"artifex.{short}")
    name = next(name for name in dir(face) if name[0].isupper() and not name.endswith("Config"))
    imports = (f"from artifex.{short} import {name}", "from flax import nnx; import optax")
    ours, flax = (min(seconds) for seconds in zip(*(map(cpu_seconds, imports) for _ in range(5)), strict=True))
    print(f"artifex-{short}: {name} imports in {ours:.2f} CPU s, flax and optax in {flax:.2f}")
    expect(f"an import within {IMPORT_RATIO} of flax", True, ours <= IMPORT_RATIO * flax or ours / flax)


def cpu_seconds(code: str) -> float:
    """What a child process with that code costs."""
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def expect(what: str, wanted: object, got: object) -> None:
    """End the run where they differ."""
    if got != wanted:
        raise SystemExit(f"smoke: expected {what} ({wanted!r}), got {got!r}.")


if __name__ == "__main__":
    main(sys.argv[1])
