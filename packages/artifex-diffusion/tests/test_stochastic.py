"""Stochastic solvers: moments, laws on equal noise, and rows that do not look at each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.diffusion.bound import step_tables
from artifex.diffusion.exact import Mixture
from artifex.diffusion.grid import Exponential, Grid, Karras, Linspace, Trailing
from artifex.diffusion.multistep import DPMSolver
from artifex.diffusion.schedule import EDM, VE, Discrete, RectifiedFlow, VPLinear
from artifex.diffusion.solver import DDIMSolver, Heun, solve
from artifex.diffusion.stochastic import (
    Ancestral,
    AnnealedLangevin,
    EulerAncestral,
    EulerMaruyama,
    LearnedAncestral,
    PredictorCorrector,
)

N = 65_536
MEAN, STD = 0.3, 0.55
DATA = Mixture(np.array([[MEAN]]), np.array([STD**2]))
STEPS = 32


def moments(solver, grid, schedule, seed=0):
    """Mean and deviation of the samples."""

    @jax.jit
    def samples(key):
        rngs = nnx.Rngs(key)
        start = jnp.asarray(float(grid.sigma[0])) * jax.random.normal(rngs(), (N, 1))
        # Of the exact distribution at the first place, so that only the solver errs.
        start = start * float(np.hypot(grid.alpha[0] * STD, grid.sigma[0]) / grid.sigma[0]) + grid.alpha[0] * MEAN
        return solve(DATA.denoiser(schedule), start, grid, solver, rngs=rngs)

    x = np.asarray(samples(jax.random.key(seed)), float)
    return x.mean(), x.std()


CASES = [
    ("ddim, half of the noise", DDIMSolver(eta=0.5), Trailing(), VPLinear()),
    ("ancestral, small", Ancestral(variance="fixed_small"), Trailing(), VPLinear()),
    ("ancestral, large", Ancestral(variance="fixed_large"), Trailing(), VPLinear()),
    ("ancestral from pure noise", Ancestral(variance="fixed_small"), Trailing(), RectifiedFlow()),
    ("euler ancestral", EulerAncestral(), Karras(), EDM()),
    ("sde, second order", DPMSolver(stochastic=True), Karras(), VPLinear()),
    ("sde from pure noise", DPMSolver(stochastic=True), Trailing(), RectifiedFlow()),
    ("euler-maruyama", EulerMaruyama(), Linspace(), VPLinear()),
    ("predictor-corrector", PredictorCorrector(), Linspace(), VPLinear()),
    ("heun with churn", Heun(churn=20.0, churn_noise=1.0), Karras(), EDM()),
]


QUICK = {"ancestral, small", "euler ancestral", "sde, second order"}


def cases():
    return [pytest.param(*case, id=case[0], marks=[pytest.mark.slow] * (case[0] not in QUICK)) for case in CASES]


@pytest.mark.parametrize(("name", "solver", "rule", "schedule"), cases())
def test_moments_are_those_of_the_data(name, solver, rule, schedule):
    """Within 4 standard errors plus the bias that halving the step shows: a first-order bias halves too."""
    coarse = moments(solver, rule(schedule, STEPS), schedule)
    fine = moments(solver, rule(schedule, 2 * STEPS), schedule, seed=1)
    error = 4 * STD / np.sqrt(N)
    for found, better, true in zip(coarse, fine, (MEAN, STD), strict=True):
        bias = 2 * abs(found - better)
        assert abs(better - true) < error + bias
        assert abs(found - true) < 0.1  # a wrong sign or a missing factor is larger than any bias


def test_ddim_with_all_the_noise_is_ancestral_sampling_on_the_same_noise():
    grid = Trailing()(Discrete(steps=50, beta_start=0.002, beta_end=0.4), 50)
    denoise, start = DATA.denoiser(grid.schedule), jnp.ones((4, 1))
    a, b, c = (
        solve(denoise, start, grid, solver, rngs=nnx.Rngs(0))
        for solver in (DDIMSolver(eta=1.0), Ancestral(variance="fixed_small"), EulerAncestral())
    )
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(a, c, atol=1e-6)


def test_posterior_variances_are_the_stored_ones(stored):
    tables = step_tables(Discrete())
    np.testing.assert_allclose(np.exp(tables.log_large[1:]), stored("ddpm_var/fixed_large")[1:], atol=1e-6)
    np.testing.assert_allclose(np.exp(tables.log_small[1:]), stored("ddpm_var/fixed_small")[1:], atol=1e-6)
    # The first entry: 0 in theory, β̃ of the second step here, 1e-20 there.
    np.testing.assert_allclose(np.exp(tables.log_small[0]), stored("ddpm_var/fixed_small")[1], atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_learned_variance_at_its_ends_is_a_fixed_one(share):
    grid = Trailing()(Discrete(steps=20, beta_start=0.01, beta_end=0.6), 20)
    denoise, start = DATA.denoiser(grid.schedule), jnp.ones((4, 1))
    fixed = Ancestral(variance="fixed_large" if share else "fixed_small")
    learned = LearnedAncestral(lambda xt, t: jnp.full_like(xt, share))
    a, b = (solve(denoise, start, grid, solver, rngs=nnx.Rngs(0)) for solver in (learned, fixed))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_on_fewer_steps_a_learned_variance_lies_between_those_of_the_respaced_betas():
    alpha_bar = np.cumprod(1 - np.linspace(0.01, 0.6, 20))[::-1][::4]  # of steps 20, 16, 12, 8 and 4
    grid = Trailing()(Discrete(steps=20, beta_start=0.01, beta_end=0.6), 5)
    row = LearnedAncestral(lambda xt, t: xt).coefficients(grid)
    beta = 1 - alpha_bar[:-1] / alpha_bar[1:]
    np.testing.assert_allclose(row.log_large[:-1], np.log(beta), rtol=1e-6)
    small = beta * (1 - alpha_bar[1:]) / (1 - alpha_bar[:-1])
    np.testing.assert_allclose(row.log_small[:-1], np.log(small), rtol=1e-6)


@pytest.mark.parametrize(
    "solver", [DDIMSolver(eta=1.0), PredictorCorrector(), DPMSolver(stochastic=True)], ids=lambda s: s.tag
)
def test_samples_do_not_couple(solver):
    """Another row 1 leaves row 0 as it is, bit for bit; a norm or variance over the batch would not."""
    grid = Trailing()(VPLinear(), 8)
    run = jax.jit(lambda x: solve(DATA.denoiser(VPLinear()), x, grid, solver, rngs=nnx.Rngs(0)))
    a, b = run(jnp.array([[1.0], [2.0]])), run(jnp.array([[1.0], [-50.0]]))
    assert a[0] == b[0]
    assert a[1] != b[1]


@pytest.mark.slow
def test_annealed_langevin_samples_the_last_level():
    """On a Gaussian of variance v, steps of size a settle at v/(1 − a/4v): no bias is left to allow for."""
    schedule = VE(sigma_min=0.1, sigma_max=1.0)
    mean, std = moments(AnnealedLangevin(size=0.02, repeats=60), Exponential()(schedule, 5), schedule)
    v = STD**2 + 0.1**2
    settled = np.sqrt(v / (1 - 0.02 / (4 * v)))
    # What the level before leaves is down by exp(−60 · 0.02/v) = 0.02.
    assert abs(mean - MEAN) < 4 * STD / np.sqrt(N) + 0.002
    assert abs(std - settled) < 4 * STD / np.sqrt(N) + 0.002


def test_without_streams_a_solver_that_draws_is_refused():
    grid = Trailing()(VPLinear(), 2)
    with pytest.raises(ValueError, match="expected 'rngs' for a solver that draws noise, got none"):
        solve(DATA.denoiser(VPLinear()), jnp.ones((1, 1)), grid, Ancestral())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EulerMaruyama().coefficients(Trailing()(RectifiedFlow(), 4)), "starts with some signal, got α = 0"),
        (lambda: EulerMaruyama().coefficients(Grid(*np.array([[1.0, 0], [0.5, 1], [0.5, 0]]))), "bare numbers"),
        (lambda: PredictorCorrector(corrections=0), "expected 'snr' > 0 and 'corrections' >= 1, got 0.16 and 0"),
        (lambda: DDIMSolver(eta=1.5), r"expected 'eta' in \[0, 1\], got 1.5"),
        (lambda: DPMSolver(churn=1.0), "churn"),
        (lambda: Heun(churn=1.0, slope="velocity"), "0 with slope 'velocity', got 1.0"),
        (lambda: DPMSolver(order=3, stochastic=True), "expected 'order' from 1 to 2, got 3"),
        (lambda: DPMSolver(singlestep=True, stochastic=True), "one of 'singlestep' and 'stochastic', got both"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
