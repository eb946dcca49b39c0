"""Losses: values at known optima, and values and gradients against autograd of another library."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.gan.loss import hinge, least_squares, minimax, nonsaturating, relativistic, wasserstein

LOSSES = {
    "minimax": minimax(),
    "nonsaturating": nonsaturating(),
    "least_squares": least_squares(-1.0, 1.0, 0.5),
    "wasserstein": wasserstein(),
    "hinge": hinge(),
    "relativistic": relativistic(),
}


def in_torch(torch, name, r, f):
    """(critic, generator) as the papers write them, in torch's own functions."""
    F = torch.nn.functional
    one, zero = torch.ones_like(r), torch.zeros_like(r)
    binary = F.binary_cross_entropy_with_logits
    both = binary(r, one) + binary(f, zero)
    return {
        "minimax": (both, -binary(f, zero)),
        "nonsaturating": (both, binary(f, one)),
        "least_squares": (0.5 * F.mse_loss(r, one) + 0.5 * F.mse_loss(f, -one), 0.5 * F.mse_loss(f, 0.5 * one)),
        "wasserstein": (f.mean() - r.mean(), -f.mean()),
        "hinge": (F.relu(1 - r).mean() + F.relu(1 + f).mean(), -f.mean()),
        "relativistic": (binary(r - f, one), binary(f - r, one)),
    }[name]


@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_equal_those_of_autograd(name):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    r, f = 3 * rng.standard_normal((2, 64))
    tensors = [torch.tensor(x, requires_grad=True) for x in (r, f)]
    with jax.enable_x64(True):
        for side, expected in enumerate(in_torch(torch, name, *tensors)):
            value, grads = jax.value_and_grad(lambda r, f, s=side: LOSSES[name][s](r, f).mean(), (0, 1))(
                jnp.asarray(r), jnp.asarray(f)
            )
            np.testing.assert_allclose(value, expected.item(), atol=1e-12)  # float64 on both sides
            found = torch.autograd.grad(expected, tensors, retain_graph=True, allow_unused=True)
            for mine, theirs in zip(grads, found, strict=True):
                np.testing.assert_allclose(mine, 0 if theirs is None else theirs.numpy(), atol=1e-12)


def test_the_critic_that_cannot_tell_costs_log_four():
    undecided = jnp.zeros(3)
    np.testing.assert_allclose(minimax().critic(undecided, undecided), math.log(4), rtol=1e-6)
    np.testing.assert_allclose(minimax().generator(undecided, undecided), -math.log(2), rtol=1e-6)


def test_minimax_is_a_zero_sum_game_in_the_fakes():
    f = jnp.linspace(-3, 3, 7)
    critic = jax.grad(lambda f: minimax().critic(f, f).sum() - jax.nn.softplus(-f).sum())(f)
    np.testing.assert_allclose(jax.grad(lambda f: minimax().generator(f, f).sum())(f), -critic, rtol=1e-5)


def test_the_best_least_squares_critic_is_the_weighted_mean_of_its_targets():
    p, q, (a, b) = 0.3, 0.1, (-1.0, 2.0)
    loss = least_squares(a, b, 0.0)
    best = (b * p + a * q) / (p + q)
    slope = jax.grad(lambda d: p * loss.critic(d, jnp.array(a)) + q * loss.critic(jnp.array(b), d))(best)
    np.testing.assert_allclose(slope, 0, atol=1e-6)


def test_only_the_relativistic_generator_looks_at_data():
    assert [name for name, loss in LOSSES.items() if loss.paired] == ["relativistic"]


def test_the_nonsaturating_gradient_does_not_vanish_on_bad_fakes():
    bad = jnp.array([-20.0])
    slopes = [float(jax.grad(lambda f, m=m: m.generator(f, f).sum())(bad)[0]) for m in (minimax(), nonsaturating())]
    np.testing.assert_allclose(slopes, [-2.06e-9, -1.0], rtol=1e-2)
