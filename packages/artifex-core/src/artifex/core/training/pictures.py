"""Samples of a model in training, as pictures where the data are pictures."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from flax import nnx

from artifex.core.evaluation.picture import picture_of
from artifex.core.model import GenerativeModel

N_SAMPLES = 64


def write_samples(model: GenerativeModel, folder: Path, step: int, seed: int) -> Path:
    """The file of some samples: a PNG for pictures and points in the plane, else an npz. Equal noise at every step."""
    samples = np.asarray(model.sample(N_SAMPLES, rngs=nnx.Rngs(jax.random.key(seed))))
    folder.mkdir(parents=True, exist_ok=True)
    picture = picture_of(samples)
    file = folder / f"step_{step:08d}{'.npz' if picture is None else '.png'}"
    if picture is None:
        np.savez_compressed(file, x=samples)
    else:
        file.write_bytes(picture)
    return file
