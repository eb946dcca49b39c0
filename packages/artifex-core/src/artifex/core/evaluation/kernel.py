"""Kernel distance (unbiased squared MMD with a cubic kernel) and energy distance of features.

References:
    [1] Bińkowski et al., Demystifying MMD GANs, 2018, arXiv:1801.01401
    [2] Székely & Rizzo, Energy statistics, 2013
"""

from __future__ import annotations

from artifex.core.evaluation.sets import SetMetric
from artifex.core.prob.divergence import energy_distance, mmd


def KernelDistance() -> SetMetric:
    """KD: on the full sample, not on subsets."""
    return SetMetric("KD", mmd, higher_is_better=False)


def EnergyDistance() -> SetMetric:
    """Energy distance."""
    return SetMetric("energy", energy_distance, higher_is_better=False)
