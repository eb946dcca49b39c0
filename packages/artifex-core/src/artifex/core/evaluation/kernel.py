"""Kernel distance and energy distance of features, both without bias.

    KD      squared MMD with k(x, y) = (x·y/d + 1)³, on the full sample and not on subsets [1]
    energy  2 E‖x − y‖ − E‖x − x′‖ − E‖y − y′‖ [2]
Both are 0 on average where the distributions agree, and may be below 0.

References:
    [1] Bińkowski et al., Demystifying MMD GANs, 2018, arXiv:1801.01401
    [2] Székely & Rizzo, Energy statistics, 2013
"""

from __future__ import annotations

from artifex.core.evaluation.sets import Pairs, SetMetric
from artifex.core.prob.divergence import cubic_kernel, distances, gap


def kernel_distance(kernel: Pairs) -> float:
    """Squared MMD from the kernel of all pairs [1]."""
    return gap(*kernel)


def energy(distance: Pairs) -> float:
    """Energy distance from the distances of all pairs [2]."""
    return -gap(*distance)


def KernelDistance() -> SetMetric:
    """KD."""
    return SetMetric(name="KD", pairwise=cubic_kernel, value=kernel_distance, higher_is_better=False)


def EnergyDistance() -> SetMetric:
    """Energy distance."""
    return SetMetric(name="energy", pairwise=distances, value=energy, higher_is_better=False)
