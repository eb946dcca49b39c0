"""Real NVP of pictures against its full Jacobian and the dependencies of its masks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten, merge
from artifex.flow.image import checkerboard, half_of_channels
from artifex.flow.realnvp_image import MaskedCoupling, RealNVPImage, RealNVPImageConfig

EVENT = (4, 4, 1)
CONFIG = RealNVPImageConfig(event_shape=EVENT, levels=8, n_scales=2, n_couplings=2, n_blocks=1, hidden_channels=4)


pytestmark = pytest.mark.usefixtures("x64")


def test_log_det_equals_the_full_jacobian_and_the_inverse_undoes_it(lively):
    layout, arrays = flatten(lively(RealNVPImage(CONFIG.replace(dtype="float64"), rngs=nnx.Rngs(0)), 0.2))

    @jax.jit
    def run(arrays, x):
        model = merge(layout, arrays)
        z, log_det = model.forward(x)
        again, back = model.inverse(z)
        jacobian = jax.vmap(jax.jacfwd(lambda row: model.forward(row.reshape(1, *EVENT)).value[0]))
        return again, log_det, back, jnp.linalg.slogdet(jacobian(x.reshape(len(x), -1)))[1]

    x = jnp.asarray(np.random.default_rng(1).uniform(0, 1.1, (2, *EVENT)))
    again, log_det, back, exact = run(arrays, x)
    np.testing.assert_allclose(again, x, atol=1e-10)
    np.testing.assert_allclose(log_det, exact, atol=1e-10)
    np.testing.assert_allclose(back, -log_det, atol=1e-10)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("kind", ["checkerboard", "channel"])
def test_entries_under_the_mask_pass_and_alone_decide(kind, swapped, lively):
    event = (2, 2, 2)
    config = CONFIG.replace(hidden_channels=16)  # enough that no pixel is left without a live unit
    coupling = lively(MaskedCoupling(event, (kind, swapped), config, rngs=nnx.Rngs(0)), 0.5, "float64")
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, *event)))
    jacobian = np.asarray(jax.jit(jax.jacfwd(lambda row: coupling.forward(row.reshape(1, *event)).value.ravel()))(x[0]))
    jacobian = jacobian.reshape(8, 8)
    passing = checkerboard(event) if kind == "checkerboard" else half_of_channels(event)
    b = np.broadcast_to(passing, event).ravel().astype(bool) ^ swapped
    assert b.sum() == 4
    np.testing.assert_array_equal(jacobian[b], np.eye(8)[b])
    moved = jacobian[~b][:, ~b]
    np.testing.assert_array_equal(moved, np.diag(np.diag(moved)))
    assert np.count_nonzero(jacobian[~b][:, b]) == 16  # each moved entry hears each that passes


def test_the_log_scale_stays_within_its_learned_factor(lively):
    coupling = lively(MaskedCoupling(EVENT, ("checkerboard", False), CONFIG, rngs=nnx.Rngs(0)), 3.0, "float64")
    s, _ = coupling.moves(1e6 * jnp.ones((1, *EVENT)), None)
    np.testing.assert_allclose(np.abs(s).max(), np.abs(coupling.factor[...]), rtol=1e-12)


def test_an_untrained_coupling_is_the_identity():
    coupling = MaskedCoupling(EVENT, ("checkerboard", True), CONFIG, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, *EVENT)))
    z, log_det = coupling.forward(x)
    np.testing.assert_array_equal(z, x)
    np.testing.assert_array_equal(log_det, [0, 0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"event_shape": (7, 8, 1)}, r"sides that divide by 2 to be squeezed 1 times, got \(7, 8, 1\)"),
        ({"alpha": 0.0}, "expected 0 < 'alpha' < 1/2, got 0.0"),
        ({"levels": 1}, "expected 'levels' >= 2, got 1"),
        ({"n_scales": 0}, "expected 'n_scales' >= 1, got 0"),
    ],
)
def test_bad_configs_name_the_value(fields, message):
    with pytest.raises(ValueError, match=message):
        RealNVPImageConfig(**fields)
