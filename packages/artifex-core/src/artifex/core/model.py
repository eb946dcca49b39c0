"""The base of every model: a random stream of its own, and compiled sampling.

A concrete model adds `__call__`, `loss_fn` and `generate` (see `protocols`). `sample` is `generate` made fast: one
compiled program a structure, sample count and set of options, kept for later calls,

    x_i = generate(rngs = RowRngs(key, i)),    i = 0 … n − 1,                                                    (1)
where the row's index is folded into the key, so that sample i of a seed does not depend on n or on the chunk.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Key

from artifex.core.config import ModelConfig
from artifex.core.leaves import Layout, flatten, merge, variables
from artifex.core.prob.noise import RowRngs, stream_key

Options = tuple[tuple[str, Hashable], ...]


class Stream(nnx.Variable):
    """The words of a random key that moves on each time it is used."""


def in_config_dtype(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor whose parameters end up in the dtype that the config names."""

    @functools.wraps(init)
    def cast_after(self: GenerativeModel, config: ModelConfig, *args: Any, **kwargs: Any) -> None:
        init(self, config, *args, **kwargs)
        dtype = jnp.dtype(getattr(config, "dtype", "float32"))
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise ValueError(
                f"{type(config).__name__}: expected a dtype that jax computes in now, got {dtype}. "
                "Call jax.config.update('jax_enable_x64', True) first."
            )
        for _, variable in variables(self):
            if (
                isinstance(variable, nnx.Param)
                and jnp.issubdtype(variable.dtype, jnp.floating)
                and variable.dtype != dtype
            ):
                variable.set_value(variable[...].astype(dtype))  # item assignment would cast back

    return cast_after


class GenerativeModel(nnx.Module):
    """A model of registered kind, built as `Model(config, rngs=...)`."""

    conditions: ClassVar[tuple[str, ...]] = ()  # batch keys that the forward pass takes beside x, by row

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Here, once, so that no layer of any family has to hand config.dtype on.
        cls.__init__ = in_config_dtype(cls.__init__)

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.config: Any = config  # of the model's own class, which a type checker cannot know here
        self.stream = Stream(jax.random.key_data(stream_key(rngs, "sample")))

    def rngs_or_own(self, rngs: nnx.Rngs | None) -> nnx.Rngs:
        """The given streams, or new ones from the model's own stream, which moves on."""
        if rngs is not None:
            return rngs
        kept, used = jax.random.split(jax.random.wrap_key_data(self.stream[...]))
        self.stream[...] = jax.random.key_data(kept)
        return nnx.Rngs(used)

    def sample(
        self, n_samples: int = 1, *, rngs: nnx.Rngs | None = None, batch_size: int | None = None, **options: Any
    ) -> Array:
        """Samples [n_samples, *event] in evaluation mode, `batch_size` at a time (eq. 1).

        Args:
            batch_size: rows a program computes at once; all of them when None.
            options: passed to `generate`. Conditions are one value for all rows or one a row; floats and arrays are
                arguments of the compiled program, and everything else is part of it.
        """
        for name, value in (("n_samples", n_samples), ("batch_size", batch_size if batch_size is not None else 1)):
            if value < 1:
                raise ValueError(f"{type(self).__name__}.sample: expected {name!r} >= 1, got {value}.")
        key = stream_key(self.rngs_or_own(rngs), "sample")
        chunk = min(batch_size or n_samples, n_samples)
        by_row, whole, static = self._sort_options(options, n_samples)
        layout, arrays = flatten(self)
        program = compiled_generate(layout, chunk, static)
        first_rows = range(0, n_samples, chunk)
        parts = [program(arrays, key, first, _rows(by_row, first, chunk), whole) for first in first_rows]
        if len(parts) == 1:
            return parts[0]
        return jnp.asarray(np.concatenate([np.asarray(part) for part in parts])[:n_samples])

    def save(self, path: str | Path) -> None:
        """Write config and weights into the folder `path`, so that `load_model(path)` gives this model again."""
        # By name, because the registry that saving needs is no part of what a model is.
        importlib.import_module("artifex.core.saving").save_model(self, path)

    def _sort_options(
        self, options: Mapping[str, Any], n_samples: int
    ) -> tuple[dict[str, np.ndarray], dict[str, Array], Options]:
        """Options as (one value a row, arrays, static values)."""
        by_row: dict[str, np.ndarray] = {}
        whole: dict[str, Array] = {}
        static: dict[str, Hashable] = {}
        for name, value in options.items():
            if name in self.conditions and value is not None:
                by_row[name] = self._condition(name, np.asarray(value), n_samples)
            elif isinstance(value, float | np.ndarray | np.number | jax.Array):
                whole[name] = jnp.asarray(value)
            else:
                static[name] = value
        return by_row, whole, tuple(sorted(static.items()))

    def _condition(self, name: str, value: np.ndarray, n_samples: int) -> np.ndarray:
        if value.ndim == 0:
            return np.full(n_samples, value)
        if len(value) == 1:
            return np.repeat(value, n_samples, axis=0)
        if len(value) != n_samples:
            raise ValueError(
                f"{type(self).__name__}.sample: expected one value of {name!r} a sample, so {n_samples}, "
                f"got {len(value)}. Give one value for all rows or one a row."
            )
        return value


def _rows(by_row: Mapping[str, np.ndarray], first: int, chunk: int) -> dict[str, np.ndarray]:
    """Rows first … first + chunk − 1; the last row fills up a short end, whose samples are cut off."""
    return {name: np.take(value, range(first, first + chunk), axis=0, mode="clip") for name, value in by_row.items()}


@functools.lru_cache(maxsize=64)
def compiled_generate(layout: Layout, chunk: int, static: Options) -> Callable[..., Array]:
    """`generate` of `chunk` rows for models of this layout, as one compiled program."""

    @jax.jit
    def generate(
        arrays: dict[str, Array],
        key: Key[Array, ""],
        first_row: Array,
        by_row: dict[str, Array],
        whole: dict[str, Array],
    ) -> Array:
        model = merge(layout, arrays)
        model.eval()
        return model.generate(chunk, rngs=RowRngs(key, first_row), **by_row, **whole, **dict(static))

    return generate
