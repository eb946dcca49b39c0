"""Grids against their formulas, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from artifex.diffusion.grid import Custom, Exponential, Karras, Leading, Linspace, Trailing, UniformLogSNR
from artifex.diffusion.schedule import EDM, VE, Cosine, Discrete, RectifiedFlow, VPLinear


def index(grid):
    return np.round(grid.t[:-1] * 1000).astype(int) - 1


def test_karras_is_the_formula_of_the_paper():
    i = np.arange(18)
    expected = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    grid = Karras()(EDM(), 18)
    np.testing.assert_allclose(grid.sigma, [*expected, 0], rtol=1e-10)
    np.testing.assert_allclose(grid.t[:-1], np.linspace(1, 0, 18), atol=1e-12)
    other = Karras()(VE(sigma_min=0.002, sigma_max=80.0), 18)
    np.testing.assert_allclose(other.sigma, grid.sigma, rtol=1e-9)


def test_spacings_of_a_discrete_schedule_are_the_published_ones():
    np.testing.assert_array_equal(index(Trailing()(Discrete(), 10)), np.arange(999, 0, -100))
    np.testing.assert_array_equal(index(Leading()(Discrete(), 10)), np.arange(900, -1, -100))
    np.testing.assert_array_equal(index(Leading(offset=1)(Discrete(), 10)), np.arange(901, 0, -100))
    np.testing.assert_array_equal(index(Linspace()(Discrete(), 10)), np.arange(999, -1, -111))


def test_log_snr_steps_are_equal():
    for rule, n in ((UniformLogSNR(t_min=0.01), 11), (Exponential(t_min=0.01), 10)):
        grid = rule(VPLinear(), 10)
        ratio = np.log(grid.alpha[:n] / grid.sigma[:n])
        np.testing.assert_allclose(np.diff(ratio), np.diff(ratio)[0], rtol=1e-8)
    assert UniformLogSNR(t_min=0.01)(VPLinear(), 10).sigma[-1] > 0
    assert Exponential(t_min=0.01)(VPLinear(), 10).sigma[-1] == 0


@pytest.mark.parametrize(
    "schedule", [VPLinear(), EDM(), VE(), RectifiedFlow(shift=3.0), Discrete()], ids=lambda s: s.tag
)
@pytest.mark.parametrize("rule", [Trailing(), Linspace()], ids=lambda r: r.tag)
def test_grids_fall_to_clean_data(schedule, rule):
    for n in (1, 2, 7, 50):
        grid = rule(schedule, n)
        assert grid.n == n
        assert (grid.alpha[-1], grid.sigma[-1], grid.t[-1]) == (1.0, 0.0, 0.0)
        assert np.all(np.diff(np.arctan2(grid.sigma, grid.alpha)) < 0)


def test_a_custom_grid_is_what_was_given():
    grid = Custom(t=(1.0, 0.6, 0.25, 0.0))(RectifiedFlow(), 3)
    np.testing.assert_allclose(grid.sigma, [1, 0.6, 0.25, 0])
    bounded = Custom(t=(0.9, 0.5))(VPLinear(), 1)
    np.testing.assert_allclose(bounded.sigma, VPLinear().sigma(np.array([0.9, 0.5])))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trailing()(Discrete(), 0), "expected 'steps' of at least 1 and at most 1000.* got 0"),
        (lambda: Trailing()(Discrete(steps=20), 21), "at most 20, the steps of the schedule, got 21"),
        (lambda: Karras()(EDM(), 0), "expected 'steps' of at least 1, got 0"),
        (lambda: Custom(t=(0.2, 0.5, 0.0))(VPLinear(), 2), "fall from noise to data, got 0.2 and then 0.5"),
        (lambda: Custom(t=(0.5, 0.5, 0.0))(VPLinear(), 2), "got 0.5 and then 0.5"),
        (lambda: Custom(t=(1.5, 0.0))(VPLinear(), 1), r"times in \[0, 1\], got 1.5"),
        (lambda: Custom(t=(1.0, 0.0))(VPLinear(), 3), "expected 1 steps for 2 times, got 3"),
        (lambda: Leading()(VPLinear(), 3), "expected a discrete schedule"),
        (lambda: Karras()(RectifiedFlow(), 3), "some signal at t_max = 1.0"),
        (lambda: UniformLogSNR(t_min=0.0)(Cosine(), 3), "some noise at t_min = 0.0"),
        (lambda: Karras()(Discrete(), 5), "on one of its 1000 steps"),
    ],
)
def test_bad_grids_name_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()
