"""A module as named arrays, and back.

    flatten : module          -> (layout, {path: array})
    merge   : layout, arrays  -> module
A path joins attribute names and list positions by `/`: `encoder/layers/0/kernel`. The layout is static: hashable, equal
for modules of equal structure, so compiled functions close over it and take nothing but arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array


class Layout(NamedTuple):
    """The structure of a module without its arrays."""

    graphdef: nnx.GraphDef
    treedef: Any  # jax's PyTreeDef
    paths: tuple[str, ...]


def path_name(keys: tuple[Any, ...]) -> str:
    """A tree path as text; the `.value` of a Variable is not part of it."""
    parts = (entry.key if isinstance(entry, jax.tree_util.DictKey) else entry for entry in keys)
    return "/".join(str(part) for part in parts if not isinstance(part, jax.tree_util.GetAttrKey))


def flatten(module: nnx.Module) -> tuple[Layout, dict[str, Array]]:
    """The layout of a module and its arrays by path."""
    graphdef, state = nnx.split(module)
    keyed, treedef = jax.tree_util.tree_flatten_with_path(state)
    arrays = {path_name(keys): leaf for keys, leaf in keyed}
    return Layout(graphdef, treedef, tuple(arrays)), arrays


def merge(layout: Layout, arrays: Mapping[str, Array]) -> Any:
    """A new module of this layout that holds these arrays."""
    state = jax.tree.unflatten(layout.treedef, [arrays[path] for path in layout.paths])
    return nnx.merge(layout.graphdef, state)


def assign(module: nnx.Module, arrays: Mapping[str, Array]) -> None:
    """Write arrays into a module in place; paths that it does not have are an error."""
    layout, own = flatten(module)
    state = jax.tree.unflatten(layout.treedef, [arrays[path] for path in own])
    nnx.update(module, state)


def variables(module: nnx.Module) -> Iterator[tuple[tuple[Any, ...], nnx.Variable]]:
    """Every Variable of a module with its path, a shared one once."""
    yield from nnx.to_flat_state(nnx.state(module))


def select(module: nnx.Module, chosen: Any) -> frozenset[str]:
    """Paths of the arrays that an nnx filter chooses."""
    matches = nnx.filterlib.to_predicate(chosen)
    names: set[str] = set()
    for path, variable in variables(module):
        if matches(path, variable):
            keyed, _ = jax.tree_util.tree_flatten_with_path(variable)
            prefix = "/".join(map(str, path))
            names.update("/".join(filter(None, (prefix, path_name(keys)))) for keys, _ in keyed)
    return frozenset(names)


def as_plain(array: Array) -> Array:
    """The array itself, or the words of a random key, which files cannot hold."""
    return jax.random.key_data(array) if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) else array


def as_like(plain: Array | np.ndarray, like: Array) -> Array:
    """The inverse of `as_plain`: an array of the kind that `like` is."""
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(plain), impl=jax.random.key_impl(like))
    return jnp.asarray(plain)
