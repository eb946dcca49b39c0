"""Shape annotations checked while the tests run.

`check_arrays` is a checker for jaxtyping's import hook. It looks at arrays only, alone or inside unions, tuples,
sequences, mappings, TypedDicts and NamedTuples: a config may be given a list where it holds a tuple, and the static
checker answers for everything that is no array. A root `conftest.py` says, before it imports anything else,

    import artifex.core.testing.annotations
    jaxtyping.install_import_hook("artifex", "artifex.core.testing.annotations.check_arrays")
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

import jax
import numpy as np
from jaxtyping import AbstractArray, jaxtyped

MARKS = (Annotated, Required, NotRequired)


def check_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, refusing arrays that do not fit its annotations; itself where no annotation speaks of an array."""
    hints = {name: hint for name, hint in function.__annotations__.items() if speaks_of_arrays(hint)}
    if not hints:
        return function
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            require(name, each(signature.parameters[name], value), hints)
        returned = function(*args, **kwargs)
        require("return", [returned], hints)
        return returned

    return checked


def each(parameter: inspect.Parameter, value: Any) -> list[Any]:
    """The values that the annotation of `parameter` speaks of: several for `*args` and `**kwargs`."""
    if parameter.kind is parameter.VAR_POSITIONAL:
        return list(value)
    return list(value.values()) if parameter.kind is parameter.VAR_KEYWORD else [value]


def require(name: str, values: list[Any], hints: Mapping[str, Any]) -> None:
    """Raise TypeError for the first value that does not fit."""
    for value in values:
        if name in hints and not fits(value, hints[name]):
            raise TypeError(f"{name}: expected {hints[name]}, got {value!r}. Correct the annotation or the array.")


def is_array(value: Any) -> bool:
    """Whether `value` is an array of numpy's or JAX's, a tracer too."""
    return isinstance(value, np.ndarray | jax.Array)


def is_array_hint(hint: Any) -> bool:
    """Whether `hint` is one of jaxtyping's array types."""
    return isinstance(hint, type) and issubclass(hint, AbstractArray)


def is_record(hint: Any) -> bool:
    """Whether `hint` is a NamedTuple."""
    return isinstance(hint, type) and issubclass(hint, tuple) and "_fields" in vars(hint)


@functools.cache
def fields(record: type) -> Mapping[str, Any]:
    """The annotations of a TypedDict or NamedTuple; none where they name what only the static checker imports."""
    try:
        return get_type_hints(record, include_extras=True)
    except NameError:
        return {}


def speaks_of_arrays(hint: Any) -> bool:
    """Whether an array type stands anywhere in `hint`."""
    if is_array_hint(hint):
        return True
    if is_record(hint) or is_typeddict(hint):
        return any(is_array_hint(field) for field in fields(hint).values())
    return any(speaks_of_arrays(part) for part in get_args(hint))


def fits(value: Any, hint: Any) -> bool:
    """Whether the arrays in `value` are those that `hint` describes."""
    origin = get_origin(hint)
    if is_array_hint(hint):
        return isinstance(value, hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in get_args(hint))
    if origin in MARKS:
        return fits(value, get_args(hint)[0])
    if is_typeddict(hint):
        return all(fits(value[name], field) for name, field in fields(hint).items() if name in value)
    if is_record(hint):
        return isinstance(value, hint) and record_fits(value, hint)
    if speaks_of_arrays(hint):
        return container_fits(value, hint)
    # A union such as `float | Float[Array, ""]`: its plain member takes no array of another shape.
    return not is_array(value) or hint is Any or (isinstance(hint, type) and isinstance(value, hint))


def record_fits(value: Any, record: type) -> bool:
    """Whether the array fields of a NamedTuple fit, with axis names of its own."""
    with jaxtyped("context"):
        # While it travels as a pytree a record may hold shardings or axis numbers in place of arrays.
        known = fields(record)
        return all(
            fits(part, known[name]) for name, part in value._asdict().items() if is_array(part) and name in known
        )


def container_fits(value: Any, hint: Any) -> bool:
    """Whether every part of a tuple, sequence or mapping fits; other generics are taken as they come."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is tuple and parts[-1] is not Ellipsis:
        return isinstance(value, tuple) and len(value) == len(parts) and all(map(fits, value, parts))
    if not isinstance(kind, type) or not issubclass(kind, Mapping | Sequence):
        return True
    if not isinstance(value, kind):
        return False
    return all(fits(part, parts[-1] if kind is not tuple else parts[0]) for part in members(value))


def members(value: Mapping[Any, Any] | Sequence[Any]) -> list[Any]:
    """What a mapping or a sequence holds."""
    return list(value.values()) if isinstance(value, Mapping) else list(value)
