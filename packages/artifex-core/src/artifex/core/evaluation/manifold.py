"""How samples and data cover each other, by balls around features.

    r_k(a)     distance from a to its k-th nearest neighbour in its own set
    precision  share of samples within r_3 of some data point [1]                                                (1)
    recall     share of data within r_3 of some sample [1]                                                       (2)
    density    1/(k m) Σ_samples #{data a : sample within r_5(a)} [2]                                            (3)
    coverage   share of data a with a sample within r_5(a) [2]                                                   (4)

References:
    [1] Kynkäänniemi et al., Improved Precision and Recall Metric, 2019, arXiv:1904.06991
    [2] Naeem et al., Reliable Fidelity and Diversity Metrics, 2020, arXiv:2002.09797
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from artifex.core.evaluation.metric import Rows
from artifex.core.evaluation.sets import SetMetric
from artifex.core.prob.divergence import distances

PRECISION_K, DENSITY_K = 3, 5


def radii(rows: Rows, k: int) -> Float[np.ndarray, " row"]:
    """r_k of each row; a row is no neighbour of itself."""
    return np.partition(distances(rows, rows), k, axis=1)[:, k]


def inside(centres: Rows, points: Rows, k: int) -> Bool[np.ndarray, "centre point"]:
    """Whether each point lies within r_k of each centre."""
    return distances(centres, points) <= radii(centres, k)[:, None]


def precision(real: Rows, fake: Rows) -> float:
    """Eq. 1."""
    return float(inside(real, fake, PRECISION_K).any(0).mean())


def recall(real: Rows, fake: Rows) -> float:
    """Eq. 2."""
    return precision(fake, real)


def density(real: Rows, fake: Rows) -> float:
    """Eq. 3."""
    return float(inside(real, fake, DENSITY_K).sum() / (DENSITY_K * len(fake)))


def coverage(real: Rows, fake: Rows) -> float:
    """Eq. 4."""
    return float(inside(real, fake, DENSITY_K).any(1).mean())


def Precision() -> SetMetric:
    """Precision, k = 3."""
    return SetMetric("precision", precision, higher_is_better=True)


def Recall() -> SetMetric:
    """Recall, k = 3."""
    return SetMetric("recall", recall, higher_is_better=True)


def Density() -> SetMetric:
    """Density, k = 5."""
    return SetMetric("density", density, higher_is_better=True)


def Coverage() -> SetMetric:
    """Coverage, k = 5."""
    return SetMetric("coverage", coverage, higher_is_better=True)
