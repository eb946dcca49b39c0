"""Masked networks against autodiff: which output sees which input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import assign, flatten
from artifex.core.nn.masked import MADE, hidden_degrees, sees


def randomised(made: MADE, seed: int = 0) -> MADE:
    """A network whose last layer is not zero."""
    rng = np.random.default_rng(seed)
    arrays = flatten(made)[1]
    assign(made, {name: jnp.asarray(rng.standard_normal(a.shape), a.dtype) for name, a in arrays.items()})
    return made


def jacobian(made: MADE, x: jax.Array, c: jax.Array | None = None) -> np.ndarray:
    """|∂θᵢ/∂uⱼ| summed over the numbers of an output, for inputs u: x, or the context."""

    def outputs(x, c):
        return made(x[None], None if c is None else c[None])[..., 0]

    both = jax.jit(jax.jacobian(outputs, argnums=(0, 1) if c is not None else 0))(x, c)
    parts = both if c is not None else (both,)
    return np.concatenate([np.abs(part).sum(0) for part in parts], -1)


@pytest.mark.parametrize("dim", [1, 2, 6])
def test_the_jacobian_is_strictly_lower_triangular_and_complete(dim):
    made = randomised(MADE(dim, 3, (16, 16), activation="tanh", rngs=nnx.Rngs(0)))
    found = jacobian(made, jnp.linspace(-1, 1, dim))
    np.testing.assert_array_equal(found != 0, np.tri(dim, k=-1, dtype=bool))


def test_the_narrowest_layer_still_carries_every_dependency():
    made = randomised(MADE(6, 1, (5,), activation="tanh", rngs=nnx.Rngs(0)))
    np.testing.assert_array_equal(jacobian(made, jnp.linspace(-1, 1, 6)) != 0, np.tri(6, k=-1, dtype=bool))


def test_every_output_sees_the_context_the_first_one_too():
    made = randomised(MADE(4, 2, (16,), context_dim=3, activation="tanh", rngs=nnx.Rngs(0)))
    found = jacobian(made, jnp.linspace(-1, 1, 4), jnp.linspace(0, 1, 3)) != 0
    np.testing.assert_array_equal(found, np.concatenate([np.tri(4, k=-1), np.ones((4, 3))], 1).astype(bool))


def test_the_first_output_is_no_linear_function_of_the_context():
    made = randomised(MADE(2, 1, (8,), context_dim=1, activation="tanh", rngs=nnx.Rngs(0)))
    c = jnp.asarray([[-1.0], [0.0], [1.0]])
    first = np.asarray(made(jnp.zeros((3, 2)), c))[0, 0]
    assert abs(first[0] - 2 * first[1] + first[2]) > 1e-2  # the second difference of a line is 0


def test_a_new_network_gives_zeros():
    out = MADE(5, 2, (8,), rngs=nnx.Rngs(0))(jnp.ones((3, 5)))
    np.testing.assert_array_equal(out, np.zeros((2, 5, 3)))


def test_hidden_units_keep_the_variance_of_their_inputs():
    made = MADE(10, 1, (2000,), activation="tanh", rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((500, 10)), jnp.float32)
    h = np.asarray(made.layers[0](x.T, made.masks()[0]))
    found = [h[hidden_degrees(2000, 10, context=False) == m].var() for m in (1, 5, 9)]
    # Var = 1 by eq. 1 of init; 222 units a degree, so four standard errors of χ² with one degree of freedom are 0.38.
    np.testing.assert_allclose(found, 1.0, atol=0.4)


def test_masks_follow_the_degrees():
    np.testing.assert_array_equal(sees(np.array([1, 2]), np.array([1, 2])), [[True, True], [False, True]])
    np.testing.assert_array_equal(
        sees(np.array([1, 2]), np.array([1, 2]), strict=True), [[False, True], [False, False]]
    )
    np.testing.assert_array_equal(hidden_degrees(5, 4, context=False), [1, 1, 2, 2, 3])
    np.testing.assert_array_equal(hidden_degrees(5, 4, context=True), [0, 0, 1, 2, 3])


def test_a_narrow_layer_is_refused():
    with pytest.raises(ValueError, match=r"expected hidden layers of at least 5 units for 6 numbers, got \(4,\)"):
        MADE(6, 1, (4,), rngs=nnx.Rngs(0))
