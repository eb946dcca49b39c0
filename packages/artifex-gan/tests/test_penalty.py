"""Penalties: closed forms of linear critics, autograd of another library, and when they act."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.prob import noise
from artifex.gan.penalty import LeCam, PathLength, gradient_penalty, on_lines, r1, r2, root

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.standard_normal((2, 6, 3, 2)).astype(np.float32)
W = RNG.standard_normal((3, 2)).astype(np.float32)
NORM2 = float((W**2).sum())


def linear(x):
    """D(x) = ⟨w, x⟩."""
    return (x * W.astype(x.dtype)).reshape(len(x), -1).sum(-1)


def value(penalty, critic=linear, real=REAL, fake=FAKE):
    return penalty.value(critic, jnp.asarray(real), jnp.asarray(fake), nnx.Rngs(0))


def test_penalties_of_a_linear_critic_have_their_closed_forms():
    np.testing.assert_allclose(value(r1(4.0)), np.full(6, 2 * NORM2), rtol=1e-5)
    np.testing.assert_allclose(value(r2(4.0)), np.full(6, 2 * NORM2), rtol=1e-5)
    expected = np.full(6, 10 * (np.sqrt(NORM2) - 1) ** 2)
    np.testing.assert_allclose(value(gradient_penalty()), expected, rtol=1e-5)
    np.testing.assert_allclose(value(gradient_penalty(at="data")), expected, rtol=1e-5)


def test_the_squares_are_summed_over_entries_not_averaged():
    ones = np.ones_like(W)
    critic = lambda x: (x * ones).reshape(len(x), -1).sum(-1)  # noqa: E731
    np.testing.assert_allclose(value(r1(2.0), critic), np.full(6, 6.0), rtol=1e-6)  # ‖1‖² = 6 entries, not 1


def network(weights, x, tanh=jnp.tanh):
    """The fixed network of both libraries: its second derivatives are not 0."""
    return (tanh(x.reshape(len(x), -1) @ weights[0]) @ weights[1])[:, 0]


def test_values_and_gradients_equal_those_of_double_backward():
    torch = pytest.importorskip("torch")
    weights = [RNG.standard_normal((6, 8)), RNG.standard_normal((8, 1))]
    real, fake, u = REAL.astype(float), FAKE.astype(float), None
    with jax.enable_x64(True):
        u = np.asarray(noise.uniform(nnx.Rngs(0), (6,), jnp.float64)).reshape(-1, 1, 1)
        for name, penalty, at in (
            ("r1", r1(3.0), real),
            ("r2", r2(3.0), fake),
            ("line", gradient_penalty(7.0), u * real + (1 - u) * fake),
        ):
            theirs = [torch.tensor(w, requires_grad=True) for w in weights]
            x = torch.tensor(at, requires_grad=True)
            (slope,) = torch.autograd.grad(network(theirs, x, torch.tanh).sum(), x, create_graph=True)
            squares = (slope**2).sum((1, 2))
            expected = 1.5 * squares if name != "line" else 7 * (squares.sqrt() - 1) ** 2
            grads = torch.autograd.grad(expected.mean(), theirs)

            def mine(w, penalty=penalty):
                rows = jnp.asarray(real), jnp.asarray(fake)
                return penalty.value(functools.partial(network, w), *rows, nnx.Rngs(0)).mean()

            found, slopes = jax.value_and_grad(mine)([jnp.asarray(w) for w in weights])
            # The squares are float32: 1e-6 relative is their precision.
            np.testing.assert_allclose(found, expected.mean().item(), rtol=1e-6)
            for a, b in zip(slopes, grads, strict=True):
                np.testing.assert_allclose(a, b.numpy(), rtol=2e-5, atol=1e-6)


def test_points_lie_on_the_line_of_their_own_row():
    x = on_lines(jnp.asarray(REAL), jnp.asarray(FAKE), nnx.Rngs(0))
    u = (x - FAKE) / (REAL - FAKE)
    np.testing.assert_allclose(u, np.broadcast_to(np.asarray(u)[:, :1, :1], u.shape), rtol=1e-3)
    assert len(np.unique(np.round(np.asarray(u)[:, 0, 0], 4))) == 6
    assert float(u.min()) >= 0
    assert float(u.max()) <= 1


def test_the_root_has_no_nan_where_the_slope_is_zero():
    flat = lambda x, w: (w * 0.0 * x).reshape(len(x), -1).sum(-1)  # noqa: E731
    grad = jax.grad(lambda w: value(gradient_penalty(), lambda x: flat(x, w), FAKE, FAKE).sum())(1.0)
    assert float(grad) == 0.0
    np.testing.assert_array_equal(jax.grad(lambda s: root(s).sum())(jnp.array([0.0, 4.0])), [0.0, 0.25])


def test_a_lazy_penalty_acts_on_every_sixteenth_step_and_counts_sixteen_times():
    at = jax.jit(lambda step: r1(4.0, every=16).at(step, linear, (jnp.asarray(REAL), jnp.asarray(FAKE)), nnx.Rngs(0)))
    found = {step: float(at(jnp.asarray(step))[0]) for step in range(33)}
    acted = [step for step, penalty in found.items() if penalty != 0]
    assert acted == [0, 16, 32]
    np.testing.assert_allclose(found[16], 16 * 2 * NORM2, rtol=1e-5)


def test_a_resting_penalty_computes_no_slope():
    def at(step):
        return r1(4.0, every=16).at(step, linear, (jnp.asarray(REAL), jnp.asarray(FAKE)), nnx.Rngs(0)).sum()

    jaxpr = jax.make_jaxpr(at)(jnp.asarray(0))
    branches = next(eqn.params["branches"] for eqn in jaxpr.eqns if eqn.primitive.name == "cond")
    assert sorted(len(branch.jaxpr.eqns) for branch in branches)[0] == 0


def test_lecam_pulls_logits_to_the_other_sides_running_mean():
    lecam = LeCam(weight=2.0, decay=0.9)
    first = value(lecam.penalty())
    means = 0.1 * linear(jnp.asarray(REAL)).mean(), 0.1 * linear(jnp.asarray(FAKE)).mean()
    np.testing.assert_allclose([lecam.real[...], lecam.fake[...]], means, rtol=1e-5)
    expected = 2 * ((linear(REAL) - means[1]) ** 2 + (linear(FAKE) - means[0]) ** 2)
    np.testing.assert_allclose(first, expected, rtol=1e-5)
    lecam.eval()
    value(lecam.penalty())
    np.testing.assert_allclose(lecam.real[...], means[0], rtol=1e-6)


def test_path_length_of_a_scaled_rotation_is_its_scale():
    rotation = np.linalg.qr(RNG.standard_normal((12, 12)))[0].astype(np.float32)
    path = PathLength(weight=1.0, decay=0.0)
    w = jnp.asarray(RNG.standard_normal((4, 12)), jnp.float32)
    synthesis = lambda w: (3 * w @ rotation).reshape(-1, 2, 2, 3)  # noqa: E731
    rngs = nnx.Rngs(1)
    y = noise.normal(nnx.Rngs(1), (4, 2, 2, 3)) / 2
    lengths = 3 * np.linalg.norm(np.asarray(y).reshape(4, -1), axis=1)  # a rotation keeps lengths
    found = path(synthesis, w, rngs)
    np.testing.assert_allclose(path.mean[...], lengths.mean(), rtol=1e-5)
    np.testing.assert_allclose(found, (lengths - lengths.mean()) ** 2, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda: r1(-1.0), lambda: r2(-1.0), lambda: gradient_penalty(-1.0), lambda: LeCam(-1.0)]
)
def test_a_negative_weight_is_refused(make):
    with pytest.raises(ValueError, match=r"expected '(gamma|weight)' >= 0, got -1.0"):
        make()
