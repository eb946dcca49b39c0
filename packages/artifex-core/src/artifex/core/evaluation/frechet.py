"""Fréchet distance between Gaussians fitted to features of data and of samples.

    block b of ten (example i mod 10):  n_b, mean m_b, scatter C_b = Σ (x − m_b)(x − m_b)ᵀ
    join:  C = C_a + C_b + (m_b − m_a)(m_b − m_a)ᵀ n_a n_b / n          [Chan et al. 1983]                        (1)
    S = C / (n − 1),  FD as in `prob.divergence`
Blocks give the jackknife interval without a second pass.

References:
    [1] Heusel et al., GANs Trained by a Two Time-Scale Update Rule, 2017, arXiv:1706.08500
    [2] Chan, Golub & LeVeque, Algorithms for computing the sample variance, 1983
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from artifex.core.evaluation.intervals import jackknife
from artifex.core.evaluation.metric import BLOCKS, MetricValue, need_at_least, need_one_width, real_rows
from artifex.core.prob.divergence import frechet


class Moments(NamedTuple):
    """Number, mean and scatter of some rows."""

    n: int
    mean: Float[np.ndarray, " d"]
    scatter: Float[np.ndarray, "d d"]

    def join(self, other: Moments) -> Moments:
        """The moments of both (eq. 1)."""
        if not self.n or not other.n:
            return other if other.n else self
        need_one_width("FD", len(self.mean), len(other.mean))
        n = self.n + other.n
        gap = other.mean - self.mean
        scatter = self.scatter + other.scatter + np.outer(gap, gap) * (self.n * other.n / n)
        return Moments(n, self.mean + gap * (other.n / n), scatter)

    def covariance(self) -> Float[np.ndarray, "d d"]:
        """S."""
        return self.scatter / (self.n - 1)


NOTHING = Moments(0, np.zeros(0), np.zeros((0, 0)))


class State(NamedTuple):
    """Moments of each block of data and of samples."""

    real: tuple[Moments, ...]
    fake: tuple[Moments, ...]


class FrechetDistance:
    """FD of features."""

    name, version, higher_is_better = "FD", 1, False
    needs = frozenset({"real", "fake"})

    def init(self) -> State:
        """No rows."""
        return State((NOTHING,) * BLOCKS, (NOTHING,) * BLOCKS)

    def update(self, state: State, batch: Mapping[str, np.ndarray], mask: np.ndarray) -> State:
        """These rows too."""
        sides = state._asdict()
        for side in self.needs & batch.keys():
            index, rows = real_rows(batch[side], batch["index"], mask, f"{side} features")
            sides[side] = tuple(m.join(moments(rows[index % BLOCKS == b])) for b, m in enumerate(sides[side]))
        return State(**sides)

    def merge(self, a: State, b: State) -> State:
        """Both parts."""
        return State(*(tuple(m.join(k) for m, k in zip(x, y, strict=True)) for x, y in zip(a, b, strict=True)))

    def compute(self, state: State) -> MetricValue:
        """The distance with its jackknife interval."""
        real, fake = joined(state.real), joined(state.fake)
        need_at_least("FD", 2 * BLOCKS, data=real.n, samples=fake.n)
        need_one_width("FD", len(real.mean), len(fake.mean))
        value = _distance(real, fake)
        without = [_distance(_but(state.real, b), _but(state.fake, b)) for b in range(BLOCKS)]
        interval = jackknife(value, without)
        flags = ("rank deficient",) if min(real.n, fake.n) <= len(real.mean) else ()
        return MetricValue(value, max(0.0, interval.low), interval.high, min(real.n, fake.n), flags)


def moments(rows: Float[np.ndarray, "row d"]) -> Moments:
    """The moments of some rows."""
    if not len(rows):
        return NOTHING
    mean = rows.mean(0)
    centred = rows - mean
    return Moments(len(rows), mean, centred.T @ centred)


def joined(blocks: Iterable[Moments]) -> Moments:
    """The moments of all blocks."""
    total = NOTHING
    for block in blocks:
        total = total.join(block)
    return total


def _but(blocks: tuple[Moments, ...], left_out: int) -> Moments:
    return joined(block for b, block in enumerate(blocks) if b != left_out)


def _distance(real: Moments, fake: Moments) -> float:
    return frechet(real.mean, real.covariance(), fake.mean, fake.covariance())
