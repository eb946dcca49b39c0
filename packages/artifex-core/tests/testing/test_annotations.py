from collections.abc import Mapping
from typing import NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, Int, TypeCheckError, jaxtyped

from artifex.core.prob import gaussian
from artifex.core.prob.gaussian import Gaussian
from artifex.core.testing.annotations import check_arrays

Rows = Float[Array, "batch width"]


class Outputs(TypedDict):
    mean: Rows
    count: int


class Pair(NamedTuple):
    first: Float[Array, " n"]
    second: Float[Array, " n"]


def checked(function):
    return jaxtyped(typechecker=check_arrays)(function)


@checked
def norm(x: Rows, *, scale: float | Float[Array, ""] = 1.0) -> Float[Array, " batch"]:
    return scale * jnp.sqrt((x**2).sum(-1))


def test_arrays_that_fit_pass_through_unchanged():
    assert float(norm(jnp.array([[3.0, 4.0]]))[0]) == 5.0
    assert float(norm(jnp.array([[3.0, 4.0]]), scale=2)[0]) == 10.0
    assert float(jax.jit(norm)(jnp.array([[3.0, 4.0]]), scale=jnp.array(3.0))[0]) == 15.0


@pytest.mark.parametrize("x", [jnp.zeros(3), jnp.zeros((3, 2), int)], ids=["rank", "dtype"])
def test_an_array_of_another_rank_or_type_is_refused(x):
    with pytest.raises(TypeCheckError, match="'x'"):
        norm(x)


def test_a_union_with_a_number_takes_no_array_of_another_shape():
    with pytest.raises(TypeCheckError, match="'scale'"):
        norm(jnp.zeros((3, 2)), scale=jnp.zeros(3))


def test_a_wrong_result_is_refused():
    @checked
    def total(x: Rows) -> Float[Array, " batch"]:
        return x.sum(0)

    assert total(jnp.zeros((2, 2))).shape == (2,)
    with pytest.raises(TypeCheckError, match="return value"):
        total(jnp.zeros((3, 2)))


def test_one_name_has_one_size_within_a_call():
    @checked
    def outputs(x: Rows, extra: int) -> Outputs:
        return Outputs(mean=jnp.zeros((len(x) + extra, 2)), count=len(x))

    assert outputs(jnp.zeros((3, 2)), 0)["count"] == 3
    with pytest.raises(TypeCheckError):
        outputs(jnp.zeros((3, 2)), 1)


def test_a_record_has_axis_names_of_its_own():
    @checked
    def first(pair: Pair, n: Float[Array, " n"]) -> Float[Array, " n"]:
        return pair.first[:1].repeat(len(n))

    assert len(first(Pair(jnp.zeros(4), jnp.zeros(4)), jnp.zeros(2))) == 2
    with pytest.raises(TypeCheckError):
        first(Pair(jnp.zeros(4), jnp.zeros(5)), jnp.zeros(2))


def test_containers_are_looked_into():
    @checked
    def parts(
        pair: tuple[Rows, Int[Array, " batch"]], named: Mapping[str, Rows], *more: Rows
    ) -> tuple[Float[Array, " batch"], ...]:
        return (pair[0].sum(1), *(x.sum(1) for x in more))

    x, y = jnp.zeros((3, 2)), jnp.zeros(3, int)
    assert len(parts((x, y), {"a": x}, x, x)) == 3
    for wrong in [((x, x), {}), ((x, y), {"a": y}), ((x,), {}), ((x, y), {}, y)]:
        with pytest.raises(TypeCheckError):
            parts(*wrong)


def test_what_is_no_array_is_left_to_the_static_checker():
    @checked
    def config(sizes: tuple[int, ...], x: Float[np.ndarray, " n"] | None = None) -> int:
        return len(sizes)

    assert config([1, 2]) == 2
    assert config((1, 2), np.zeros(3)) == 2
    with pytest.raises(TypeCheckError):
        config((1, 2), np.zeros((3, 3)))


def test_a_function_without_arrays_is_not_wrapped():
    def plain(sizes: tuple[int, ...]) -> int:
        return len(sizes)

    assert check_arrays(plain) is plain


def test_the_annotations_of_the_library_are_checked_in_this_run():
    with pytest.raises(TypeCheckError, match="log_prob"):
        gaussian.log_prob(Gaussian(jnp.zeros((2, 3)), jnp.zeros((2, 3))), jnp.zeros((2, 3), int))
