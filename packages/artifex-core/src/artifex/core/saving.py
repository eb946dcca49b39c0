"""A trained model as a folder: what it is and its weights, and no code.

    config.json         format, registered name, class, config, digest of the weights, versions
    model.safetensors   one array a path, `encoder/layers/0/kernel`
The folder is written beside its final name and moved there whole, so that it is never half a model.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from artifex.core.leaves import as_like, as_plain, assign, flatten
from artifex.core.model import GenerativeModel
from artifex.core.registry import load_target, model_record, record_of

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"


def save_model(model: GenerativeModel, path: str | Path) -> None:
    """Write the model into the folder `path`; an earlier model there is replaced, anything else is refused.

    Raises:
        ValueError: a parameter is not finite, or the folder holds something else.
    """
    target = Path(path)
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / CONFIG).is_file())):
        raise ValueError(f"save: expected a new folder or one with a saved model, got {target}. Choose another path.")
    _, arrays = flatten(model)
    plain = {name: np.asarray(as_plain(array)) for name, array in arrays.items()}
    _check_finite(plain)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _write(model, plain, draft)
        _replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load_model(path: str | Path, model_class: type[GenerativeModel] | None = None) -> GenerativeModel:
    """The model that was saved in the folder `path`.

    Args:
        model_class: needed only for a class that is not registered.

    Raises:
        LookupError: the registered name is unknown here.
        ValueError: the folder is no saved model, or its weights do not fit or are damaged.
    """
    folder = Path(path)
    saved = _read_config(folder)
    config_class: Any
    kind: Any = model_class
    if kind is None:
        if saved["model"] is None:
            raise LookupError(
                f"load_model: expected a registered model, got {saved['class']!r}, which is not registered. "
                "Give its class: load_model(path, model_class=...)."
            )
        record = model_record(saved["model"])
        kind, config_class = load_target(record.model), load_target(record.config)
    else:
        config_class = _config_class(kind)
    config = config_class.from_dict(saved["config"])
    model = kind(config, rngs=nnx.Rngs(0))
    assign(model, _fitting(folder, _read_weights(folder, saved["sha256"]), flatten(model)[1]))
    return model


def _check_finite(plain: Mapping[str, np.ndarray]) -> None:
    bad = [name for name, a in plain.items() if jnp.issubdtype(a.dtype, jnp.floating) and not np.isfinite(a).all()]
    if bad:
        raise ValueError(
            f"save: expected finite parameters, got NaN or infinity in {bad[0]!r} ({len(bad)} of {len(plain)} arrays). "
            "Go back to an earlier checkpoint, and lower the learning rate or clip the gradient."
        )


def _write(model: GenerativeModel, plain: Mapping[str, np.ndarray], folder: Path) -> None:
    from safetensors.flax import save_file

    save_file({name: jnp.asarray(array) for name, array in plain.items()}, folder / WEIGHTS)
    record = record_of(model)
    kind = type(model)
    content = {
        "format": FORMAT,
        "model": None if record is None else record.name,
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "config": model.config.to_dict(),
        "sha256": hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
        "versions": {name: importlib.metadata.version(name) for name in ("artifex-core", "jax", "flax")},
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _replace(draft: Path, target: Path) -> None:
    """Move the folder `draft` to `target`, whose earlier content goes."""
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent)) / "model"
        os.replace(target, old)
        os.replace(draft, target)
        shutil.rmtree(old.parent)
    else:
        os.replace(draft, target)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        saved = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"load_model: expected a folder written by save, got {folder} ({error}).") from error
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise ValueError(f"load_model: expected a model of format {FORMAT}, got another in {folder / CONFIG}.")
    return saved


def _read_weights(folder: Path, sha256: str) -> dict[str, Array]:
    from safetensors.flax import load_file

    content = (folder / WEIGHTS).read_bytes() if (folder / WEIGHTS).is_file() else b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(
            f"load_model: expected weights with SHA-256 {sha256[:12]}…, got a missing or damaged {folder / WEIGHTS}. "
            "Save the model again."
        )
    return load_file(folder / WEIGHTS)  # safetensors' own `load` of bytes knows no bfloat16


def _fitting(folder: Path, weights: Mapping[str, Array], like: Mapping[str, Array]) -> dict[str, Array]:
    """The weights as the model's arrays; whatever does not fit is named all at once."""
    wrong = [f"{name} is missing" for name in like if name not in weights]
    wrong += [f"{name} is not in the model" for name in weights if name not in like]
    for name in weights.keys() & like.keys():
        expected, got = jax.eval_shape(as_plain, like[name]), weights[name]
        if (expected.shape, expected.dtype) != (got.shape, got.dtype):
            wrong.append(f"{name} is {got.dtype}{list(got.shape)} instead of {expected.dtype}{list(expected.shape)}")
    if wrong:
        raise ValueError(
            f"load_model: expected the arrays of this model, got others in {folder}: {'; '.join(sorted(wrong)[:8])}. "
            "The installed version builds another architecture; install the one named in config.json."
        )
    return {name: as_like(weights[name], like[name]) for name in like}


def _config_class(model_class: type[GenerativeModel]) -> Any:
    """The config class that the constructor's annotation names."""

    return typing.get_type_hints(model_class.__init__)["config"]
