"""Mode coverage of samplers whose answer is known."""

from __future__ import annotations

import math

import numpy as np

from artifex.core.data.toys import TOYS, grid_centres
from artifex.gan.metrics import class_kl, mode_coverage


def test_exact_samples_cover_all_modes_at_the_share_of_three_deviations():
    found = mode_coverage(TOYS["twenty_five_gaussians"].sample(20_000), grid_centres(), 0.05)
    assert found.covered == 25
    # In the plane P(r ≤ 3σ) = 1 − e^(−9/2) = 0.98889; the standard error of 20,000 draws is 0.0007.
    np.testing.assert_allclose(found.share, 1 - math.exp(-4.5), atol=0.003)
    # (K − 1) / 2n = 0.0006 is the bias of the plug-in estimate.
    np.testing.assert_allclose(found.kl, 24 / 40_000, atol=0.0004)


def test_a_collapsed_sampler_covers_one_mode_at_log_k():
    centres = grid_centres()
    found = mode_coverage(np.repeat(centres[:1], 10, 0), centres, 0.05)
    assert (found.covered, found.share) == (1, 1.0)
    np.testing.assert_allclose(found.kl, math.log(25))


def test_samples_between_modes_are_not_good():
    found = mode_coverage(grid_centres() + 0.5, grid_centres(), 0.05)
    assert found == (0, 0.0, math.inf)


def test_kl_of_two_classes():
    np.testing.assert_allclose(class_kl(np.array([3, 1])), 0.75 * math.log(1.5) + 0.25 * math.log(0.5))
