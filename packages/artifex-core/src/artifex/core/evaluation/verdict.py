"""Is the new value better than the old one?

    change   v_new − v_old, its sign turned where lower is better
    noise    h = √(h_new² + h_old²),  h half the width of a 95 % interval                                        (1)
    verdict  `same` where |change| ≤ max(h, smallest effect), else `improved` or `regressed`                     (2)
Against a history of runs, v_old is the median of the last five, h_old² is the mean of theirs over their number, and the
smallest effect is twice their median absolute deviation. Fewer than three runs are `insufficient`.

References:
    [1] Schenker & Gentleman, On judging the significance of differences by examining overlap, 2001
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

Verdict = Literal["improved", "same", "regressed", "insufficient"]
LEAST_RUNS, LAST_RUNS = 3, 5


class Measured(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    ci_low: float
    ci_high: float

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.ci_high - self.ci_low) / 2


def judge(old: Measured, new: Measured, *, higher_is_better: bool, smallest: float = 0.0) -> Verdict:
    """New against old (eq. 2); `insufficient` where an interval is not finite."""
    noise = math.hypot(old.half, new.half)  # eq. 1
    if not math.isfinite(noise):
        return "insufficient"
    change = new.value - old.value if higher_is_better else old.value - new.value
    if abs(change) <= max(noise, smallest):
        return "same"
    return "improved" if change > 0 else "regressed"


def judge_history(
    history: Sequence[Measured], new: Measured, *, higher_is_better: bool, smallest: float | None = None
) -> Verdict:
    """New against the last five of a history, oldest first."""
    if len(history) < LEAST_RUNS:
        return "insufficient"
    last = history[-LAST_RUNS:]
    values = np.array([run.value for run in last])
    middle = float(np.median(values))
    half = math.sqrt(sum(run.half**2 for run in last)) / len(last)
    effect = 2 * float(np.median(np.abs(values - middle))) if smallest is None else smallest
    old = Measured(middle, middle - half, middle + half)
    return judge(old, new, higher_is_better=higher_is_better, smallest=effect)
