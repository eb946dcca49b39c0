"""How many modes of a known mixture a sampler reaches.

    good      samples within 3 standard deviations of a mode's centre; share, their part of all                   (1)
    covered   modes with at least one good sample whose nearest centre they are                                   (2)
    KL(q ‖ p) = Σ_k q_k log(q_k K),   q_k the share of good samples at mode k of K equal ones; nats               (3)

References:
    [1] Lin et al., PacGAN: The power of two samples in generative adversarial networks, 2018, arXiv:1712.04086
    [2] Srivastava et al., VEEGAN, 2017, arXiv:1705.07761
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

REACH = 3.0  # standard deviations within which a sample is good (eq. 1)


class ModeCoverage(NamedTuple):
    """What a sampler makes of a mixture."""

    covered: int  # modes reached (eq. 2)
    share: float  # of good samples (eq. 1)
    kl: float  # reverse, over modes, in nats (eq. 3); infinite without a good sample


def mode_coverage(
    samples: Float[np.ndarray, "row axis"], centres: Float[np.ndarray, "mode axis"], std: float
) -> ModeCoverage:
    """Coverage of equal Gaussians around the centres (eq. 1 to 3)."""
    distances = np.linalg.norm(np.asarray(samples, float)[:, None] - centres, axis=-1)
    good = distances.min(1) <= REACH * std
    counts: Int[np.ndarray, " mode"] = np.bincount(distances.argmin(1)[good], minlength=len(centres))
    return ModeCoverage(int((counts > 0).sum()), float(good.mean()), class_kl(counts))


def class_kl(counts: Int[np.ndarray, " mode"]) -> float:
    """KL of the shares of K classes to equal ones, in nats (eq. 3)."""
    q = counts[counts > 0] / max(counts.sum(), 1)  # eq. 3
    return float((q * np.log(q * len(counts))).sum()) if len(q) else float("inf")
