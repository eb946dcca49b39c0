"""How samples and data cover each other, by balls around features.

    r_k(a)     distance from a to its k-th nearest neighbour in its own set
    precision  share of samples y with ‖y − a‖ ≤ r_3(a) for some data a [1]                                      (1)
    recall     share of data a with ‖y − a‖ ≤ r_3(y) for some sample y [1]                                       (2)
    density    1/(k m) Σ_y #{data a : ‖y − a‖ < r_5(a)}, m samples, k = 5 [2]                                    (3)
    coverage   share of data a with ‖y − a‖ ≤ r_5(a) for some sample y [2]                                       (4)
Distances that differ by less than rounding are equal, so that data in levels (pixels) count their ties as the exact
arithmetic would. The data against themselves give 1 in all four, in (3) because its ball is open.

References:
    [1] Kynkäänniemi et al., Improved Precision and Recall Metric, 2019, arXiv:1904.06991
    [2] Naeem et al., Reliable Fidelity and Diversity Metrics, 2020, arXiv:2002.09797
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from artifex.core.evaluation.sets import Pairs, SetMetric
from artifex.core.prob.divergence import distances

PRECISION_K, DENSITY_K = 3, 5
ROUNDING = 1e-9  # relative error of a distance, from the difference of squares in float64


def radii(within: Float[np.ndarray, "row row"], k: int) -> Float[np.ndarray, "row 1"]:
    """r_k of each row; a row is no neighbour of itself."""
    return np.partition(within, k, axis=1)[:, k : k + 1]


def precision(distance: Pairs) -> float:
    """Eq. 1."""
    return float((distance.across <= radii(distance.real, PRECISION_K) * (1 + ROUNDING)).any(0).mean())


def recall(distance: Pairs) -> float:
    """Eq. 2."""
    return precision(Pairs(distance.fake, distance.real, distance.across.T))


def density(distance: Pairs) -> float:
    """Eq. 3."""
    inside = distance.across < radii(distance.real, DENSITY_K) * (1 - ROUNDING)
    return float(inside.sum() / (DENSITY_K * inside.shape[1]))


def coverage(distance: Pairs) -> float:
    """Eq. 4."""
    return float((distance.across <= radii(distance.real, DENSITY_K) * (1 + ROUNDING)).any(1).mean())


def Precision() -> SetMetric:
    """Precision, k = 3."""
    return _share("precision", precision)


def Recall() -> SetMetric:
    """Recall, k = 3."""
    return _share("recall", recall)


def Density() -> SetMetric:
    """Density, k = 5."""
    return SetMetric(name="density", pairwise=distances, value=density, higher_is_better=True, least=0.0)


def Coverage() -> SetMetric:
    """Coverage, k = 5."""
    return _share("coverage", coverage)


def _share(name: str, value: Callable[[Pairs], float]) -> SetMetric:
    return SetMetric(name=name, pairwise=distances, value=value, higher_is_better=True, least=0.0, largest=1.0)
