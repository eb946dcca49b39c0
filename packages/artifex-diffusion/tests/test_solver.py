"""Deterministic solvers against stored trajectories, at σ = 0, and by their order of convergence."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.diffusion.exact import Mixture
from artifex.diffusion.grid import Grid, Karras, Leading, Linspace, Trailing, UniformLogSNR
from artifex.diffusion.multistep import DEIS, LMS, PNDM, DPMSolver, UniPC, half_log_snr
from artifex.diffusion.schedule import EDM, Discrete, RectifiedFlow, VPLinear
from artifex.diffusion.solver import RK4, DDIMSolver, Euler, Heun

MU, VAR = np.linspace(-1.5, 1.5, 6), np.linspace(0.05, 1.2, 6)
X_T = np.random.RandomState(0).randn(4, 6)
GAUSSIAN = Mixture(MU[None], VAR)
RING = Mixture(2 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], -1), np.full(2, 0.04))
VP, EDM_EXACT = GAUSSIAN.denoiser(Discrete()), GAUSSIAN.denoiser(EDM())
VP_CONTINUOUS, RING_EXACT = GAUSSIAN.denoiser(VPLinear()), RING.denoiser(VPLinear())
STORED = 5e-6  # the tables inside the library that made the arrays are float32


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def SIGMA(x, t):  # t is σ itself, and α is 1
    return GAUSSIAN.denoise(x, 1.0, t)


def FLOW(x, t):  # t is σ itself, and α is 1 − σ
    return GAUSSIAN.denoise(x, 1 - t, t)


def bare(t, alpha, sigma):
    """A grid of numbers."""
    return Grid(np.asarray(t, float), np.asarray(alpha, float), np.asarray(sigma, float))


def vp_grid(timesteps, sigmas):
    """The grid of stored σ/α, called at stored timesteps."""
    alpha = 1 / np.sqrt(1 + sigmas**2)
    return bare(np.append((timesteps + 1) / 1000, 0.0), alpha, alpha * sigmas)


def close(found, expected, tolerance=STORED):
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("n", [10, 50])
@pytest.mark.parametrize("rule", [Leading(), Trailing()], ids=lambda rule: rule.tag)
def test_ddim_follows_the_stored_path(rule, n, stored, run):
    name = f"ddim/{rule.tag}/{n}"
    grid = rule(Discrete(), n)
    np.testing.assert_array_equal(np.round(grid.t[:-1] * 1000) - 1, stored(f"{name}/timesteps"))
    close(run(VP, X_T, grid, DDIMSolver(), keep="all"), stored(name))


@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_ddim_does_not_depend_on_the_prediction(kind, stored, run):
    grid = Trailing()(Discrete(), 50)
    close(run(VP, X_T, grid, DDIMSolver(), keep="all"), stored(f"ddim/trailing/50/{kind}"))


def test_ddim_linspace_stays_on_its_own_grid(stored, run):
    """The stored path leaves it: the library steps to t − T // n, which is no place of this grid."""
    for n in (10, 50):
        grid = Linspace()(Discrete(), n)
        np.testing.assert_array_equal(np.round(grid.t[:-1] * 1000) - 1, stored(f"ddim/linspace/{n}/timesteps"))
        ours = run(VP, X_T, grid, DDIMSolver(), keep="all")
        assert np.abs(ours - stored(f"ddim/linspace/{n}")).max() > 0.02
        # With the library's own targets, the same formula gives its path.
        t, index = grid.t[:-1], np.round(grid.t[:-1] * 1000) - 1
        x, schedule = X_T, Discrete()
        for i in range(n):
            there = max(index[i] - 1000 // n, -1) + 1
            pair = bare([t[i], there / 1000], *_scales(schedule, [t[i], there / 1000]))
            x = run(VP, x, pair, DDIMSolver())
            close(x, stored(f"ddim/linspace/{n}")[i + 1])


def _scales(schedule, t):
    return [schedule.alpha(t), schedule.sigma(t)]


@pytest.mark.parametrize("n", [10, 20, 50])
@pytest.mark.parametrize(
    ("name", "solver"),
    [("dpmpp2m", DPMSolver()), ("dpmpp2s", DPMSolver(singlestep=True)), ("unipc2_bh2", UniPC()), ("deis2", DEIS())],
)
def test_solver_follows_the_stored_path(name, solver, n, stored, run):
    grid = vp_grid(stored(f"{name}/{n}/timesteps"), stored(f"{name}/{n}/sigmas"))
    # The library's DEIS divides float32 logarithms by their small differences.
    close(run(VP, X_T, grid, solver, keep="all"), stored(f"{name}/{n}"), 2e-5 if name == "deis2" else STORED)


@pytest.mark.parametrize("n", [10, 20, 50])
def test_timesteps_rounded_after_karras_are_followed_when_they_are_given(n, stored, run):
    """The library asks the network at a rounded time, and takes its noise for that of the σ of the step."""
    name = f"dpmpp2m_karras/{n}"
    grid = vp_grid(stored(f"{name}/timesteps"), stored(f"{name}/sigmas"))
    alpha, sigma = (jnp.asarray(scale(grid.t)) for scale in (Discrete().alpha, Discrete().sigma))
    by_index = grid._replace(t=np.arange(n + 1.0))

    def denoise(x, t):
        i = t.astype(int)
        eps = (x - alpha[i] * GAUSSIAN.denoise(x, alpha[i], sigma[i])) / sigma[i]
        return (x - jnp.asarray(grid.sigma)[i] * eps) / jnp.asarray(grid.alpha)[i]

    close(run(denoise, X_T, by_index, DPMSolver(), keep="all"), stored(name))


@pytest.mark.parametrize("n", [10, 20, 50])
@pytest.mark.parametrize(("name", "solver"), [("euler", Euler()), ("heun", Heun()), ("lms", LMS())])
def test_solver_in_sigma_follows_the_stored_path(name, solver, n, stored, run):
    sigmas = stored(f"{name}/{n}/sigmas")
    places = np.append(sigmas[:1], sigmas[1::2]) if name == "heun" else sigmas
    grid = bare(places, np.ones_like(places), places)
    close(run(SIGMA, X_T * sigmas[0], grid, solver, keep="all"), stored(f"{name}/{n}"))


@pytest.mark.parametrize("n", [10, 20, 50])
def test_pndm_follows_the_stored_path(n, stored, run):
    times = (np.delete(stored(f"pndm/{n}/timesteps"), 2) + 1) / 1000
    # Its last place is the first step of the schedule, not data.
    grid = bare([*times, 0.001], *_scales(Discrete(), [*times, 0.001]))
    close(run(VP, X_T, grid, PNDM(), keep="all"), stored(f"pndm/{n}"))


@pytest.mark.parametrize("n", [18, 40])
@pytest.mark.parametrize(("name", "solver"), [("edm_euler", Euler()), ("edm_dpmpp2m", DPMSolver())])
def test_solver_on_the_edm_grid_ends_where_the_stored_one_does(name, solver, n, stored, run):
    grid = Karras()(EDM(), n)
    # The library that made them starts from √(σ² + 1) times its noise.
    close(run(EDM_EXACT, np.sqrt(80**2 + 1) * X_T, grid, solver), stored(f"{name}/{n}"))


@pytest.mark.parametrize("n", [10, 50])
@pytest.mark.parametrize("shift", [1, 3])
def test_flow_euler_shifts_once_and_matches_the_stored_grid(shift, n, stored, run):
    sigmas = stored(f"fm_euler/shift{shift}/{n}/sigmas")
    grid = bare(sigmas, 1 - sigmas, sigmas)
    close(run(FLOW, X_T, grid, Euler()), stored(f"fm_euler/shift{shift}/{n}"))
    ours = Linspace(t_min=0.001)(RectifiedFlow(shift=float(shift)), n).sigma
    # The stored grid for shift 3 has it twice: its last step lies at 0.0089 = s(s(0.001)).
    twice = Linspace(t_min=float(RectifiedFlow(shift=3.0).sigma(0.001)))(RectifiedFlow(shift=3.0), n).sigma
    np.testing.assert_allclose(ours if shift == 1 else twice, sigmas, atol=2e-6)


@pytest.mark.parametrize("n", [10, 50])
def test_flow_heun_ends_where_the_stored_one_does(n, stored, run):
    sigmas = stored(f"fm_heun/{n}/sigmas")
    places = np.append(sigmas[:1], sigmas[1::2])
    grid = bare(places, 1 - places, places)
    close(run(FLOW, X_T, grid, Heun(slope="velocity")), stored(f"fm_heun/{n}"))


class HalfTerm(DPMSolver):
    """The third-order solver of the widespread code, whose last term is half of Taylor's."""

    def coefficients(self, grid):
        rows, level = DPMSolver.coefficients(self, grid), half_log_snr(grid)
        for i in range(grid.n):
            if rows.b[i, 2]:
                h, r0, r1 = level[i + 1] - level[i], level[i] - level[i - 1], level[i - 1] - level[i - 2]
                second = -2 * grid.alpha[i + 1] * ((np.exp(-h) - 1 + h) / h**2 - 0.5)
                of = np.array([1 / r0, -1 / r0 - 1 / r1, 1 / r1]) * h * h / (r0 + r1)
                rows.b[i] -= 0.5 * second * of
        return rows


@pytest.mark.parametrize("n", [10, 20, 50])
def test_third_order_dpm_solver_takes_the_whole_term_that_the_stored_path_halves(n, stored, run):
    grid = Trailing()(Discrete(), n)
    close(run(VP, X_T, grid, HalfTerm(order=3), keep="all"), stored(f"dpmpp3m/{n}"))
    assert np.abs(run(VP, X_T, grid, DPMSolver(order=3)) - stored(f"dpmpp3m/{n}")[-1]).max() > 1e-4


SOLVERS = [
    *(DPMSolver(order=order) for order in (1, 2, 3)),
    *(DPMSolver(order=order, singlestep=True) for order in (1, 2, 3)),
    *(UniPC(order=order, variant=variant) for order in (1, 2, 3) for variant in ("bh1", "bh2")),
    *(DEIS(order=order) for order in (1, 2, 3)),
    *(LMS(order=order) for order in (1, 2, 3, 4)),
    *(DDIMSolver(), Euler(), Heun(), Heun(slope="velocity"), PNDM(), RK4()),
]


def test_no_solver_meets_a_number_that_is_not_finite_at_sigma_zero():
    """Solver × order × variant × last σ × steps: among them the bh1 that ends in NaN elsewhere."""
    schedule = VPLinear()
    for n in (*range(1, 13), 15, 50):
        grids = [rule(schedule, n) for rule in (Karras(), Linspace(t_min=1e-5), UniformLogSNR(t_min=1e-4))]
        for solver in SOLVERS:
            for grid in (*grids, *([] if isinstance(solver, RK4) else [Trailing()(Discrete(), n)])):
                rows = solver.coefficients(grid)
                assert all(np.isfinite(part).all() for part in jax.tree.leaves(rows)), (solver, n)


@pytest.mark.parametrize("solver", [s for s in SOLVERS if not isinstance(s, DEIS | LMS | PNDM | RK4 | Heun)], ids=repr)
def test_a_grid_that_starts_from_noise_alone_is_finite(solver, run):
    for n in (1, 2, 3, 10):
        grid = Trailing()(RectifiedFlow(), n)
        rows = solver.coefficients(grid)
        assert all(np.isfinite(part).all() for part in jax.tree.leaves(rows))
    # And the paths of all of them end near the data.
    x = run(FLOW, X_T, Trailing()(RectifiedFlow(), 40), solver)
    exact = MU + np.sqrt(VAR) * X_T
    assert np.abs(x - exact).max() < 0.15


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_one_step_returns_the_denoiser(solver, run):
    grid = Trailing()(VPLinear(), 1)
    found = run(VP_CONTINUOUS, X_T, grid, solver)
    np.testing.assert_allclose(found, VP_CONTINUOUS(jnp.asarray(X_T), 1.0), rtol=1e-9)


# (solver, theory, measured between 512 and 1024 steps)
LAMBDA = UniformLogSNR(t_max=float(VPLinear().inverse_log_snr(-8.0)), t_min=float(VPLinear().inverse_log_snr(8.0)))
ORDERS = [
    (DDIMSolver(), 1, 1.0),
    (DPMSolver(order=2), 2, 2.0),
    (DPMSolver(order=2, singlestep=True), 2, 2.0),
    (DPMSolver(order=3, singlestep=True), 3, 3.0),
    (DPMSolver(order=3), 3, 3.0),
    (UniPC(order=1), 2, 2.0),
    (UniPC(order=2), 3, 3.0),
    (UniPC(order=3), 4, 3.9),
    (UniPC(order=2, variant="bh1"), 3, 3.0),
    (UniPC(order=2, corrector=False), 2, 2.0),
    (UniPC(order=3, corrector=False), 3, 3.0),
    (DEIS(order=1), 1, 1.0),
    (DEIS(order=2), 2, 2.0),
    (DEIS(order=3), 3, 3.0),
    (LMS(order=2), 2, 2.0),
    (LMS(order=3), 3, 3.0),
    (LMS(order=4), 4, 3.7),
    (Heun(), 2, 2.0),
    (Heun(slope="velocity"), 2, 2.0),
    (PNDM(), 2, 2.0),
    (RK4(), 4, 4.0),
]
START = np.random.RandomState(1).randn(256, 2)
COARSE = (512, 1024)


@pytest.fixture(scope="module")
def exact_end(run):
    """Where the flow of the ring ends, by the fourth-order rule, whose error is 3e-12 here."""
    with jax.enable_x64(True):
        return run(RING_EXACT, START, LAMBDA(VPLinear(), 2048), RK4())


@pytest.mark.parametrize(("solver", "theory", "measured"), ORDERS, ids=str)
def test_order_of_convergence(solver, theory, measured, run, exact_end):
    ends = [run(RING_EXACT, START, LAMBDA(VPLinear(), n), solver) for n in COARSE]
    errors = [np.sqrt(((end - exact_end) ** 2).mean()) for end in ends]
    assert abs(np.log2(errors[0] / errors[1]) - measured) < 0.1, (theory, errors)
