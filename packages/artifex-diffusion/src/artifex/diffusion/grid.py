"""Grids: the n + 1 places that a sampler visits, from noise to data.

| grid              | places, i = 0 … n − 1, then data (σ = 0)                                        |
|-------------------|---------------------------------------------------------------------------------|
| `trailing` [1]    | t = 1 − i/n                                                                     |
| `leading` [1]     | on T steps: every (T // n)-th from the first, backwards                         |
| `linspace` [1]    | t from 1 to t_min in equal parts                                                |
| `karras` [2]      | ρ = σ/α with ρ^(1/r) in equal parts, r = 7                                      (1) |
| `exponential`     | log ρ in equal parts                                                            (2) |
| `uniform_log_snr` | log ρ in equal parts, n + 1 places between two given times, not down to data    |
| `custom`          | the times that are given                                                        |

All numbers are float64 on the host.

References:
    [1] Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, 2023, arXiv:2305.08891
    [2] Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, arXiv:2206.00364
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from artifex.core.config import Config
from artifex.diffusion.process import Schedule

Places = Float[np.ndarray, " place"]


class Grid(NamedTuple):
    """Times with their scales of signal and noise, from noise to data."""

    t: Places
    alpha: Places
    sigma: Places
    schedule: Schedule | None = None  # for solvers that look between the places

    @property
    def n(self) -> int:
        """Number of steps."""
        return len(self.t) - 1


class GridRule(Protocol):
    """What makes a grid of n steps."""

    def __call__(self, schedule: Schedule, n: int) -> Grid:
        """The grid."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trailing(Config):
    """From t = 1 in equal steps of t to the data [1]."""

    def __call__(self, schedule: Schedule, n: int) -> Grid:
        """The grid of n steps."""
        check_steps("trailing", schedule, n)
        return to_data(schedule, on_steps(schedule, 1 - np.arange(n) / n))


@dataclass(frozen=True, kw_only=True)
class Leading(Config):
    """From the first step of a discrete schedule in equal strides, backwards; it never sees t = 1 [1]."""

    offset: int = 0  # steps by which all places move towards the noise

    def __call__(self, schedule: Schedule, n: int) -> Grid:
        """The grid of n steps."""
        check_steps("leading", schedule, n)
        if schedule.n_steps is None:
            raise ValueError(
                f"leading: expected a discrete schedule, got {schedule}. Its first place would be data; use trailing."
            )
        index = np.arange(n)[::-1] * (schedule.n_steps // n) + self.offset
        return to_data(schedule, (index + 1) / schedule.n_steps)


@dataclass(frozen=True, kw_only=True)
class Linspace(Config):
    """From t = 1 to t_min in equal parts, then to the data [1]."""

    t_min: float | None = None  # None: 0 where noise is left there, the first step of T, or 1/1000

    def __call__(self, schedule: Schedule, n: int) -> Grid:
        """The grid of n steps."""
        check_steps("linspace", schedule, n)
        low = last_time(schedule) if self.t_min is None else self.t_min
        return to_data(schedule, on_steps(schedule, np.linspace(1, low, n) if n > 1 else np.ones(1)))


@dataclass(frozen=True, kw_only=True)
class Karras(Config):
    """Equal parts of the r-th root of σ/α (eq. 1)."""

    rho: float = 7.0  # r
    t_max: float = 1.0
    t_min: float | None = None  # as in `linspace`
    down_to_data: bool = True  # False: n + 1 places, the last one at t_min

    def __call__(self, schedule: Schedule, n: int) -> Grid:
        """The grid of n steps."""
        check_steps("karras", schedule, n)
        high, low = (ratio ** (1 / self.rho) for ratio in ratios(schedule, self.t_max, self.t_min))
        return by_ratio(schedule, np.linspace(high, low, n + (not self.down_to_data)) ** self.rho, self.down_to_data)


@dataclass(frozen=True, kw_only=True)
class Exponential(Config):
    """Equal parts of log σ/α, then data (eq. 2)."""

    t_max: float = 1.0
    t_min: float | None = None  # as in `linspace`

    def __call__(self, schedule: Schedule, n: int) -> Grid:
        """The grid of n steps."""
        check_steps("exponential", schedule, n)
        high, low = ratios(schedule, self.t_max, self.t_min)
        return by_ratio(schedule, np.geomspace(high, low, n), True)


@dataclass(frozen=True, kw_only=True)
class UniformLogSNR(Config, tag="uniform_log_snr"):
    """Equal parts of log SNR between two times, not down to data (eq. 2)."""

    t_max: float = 1.0
    t_min: float | None = None  # as in `linspace`

    def __call__(self, schedule: Schedule, n: int) -> Grid:
        """The grid of n steps."""
        check_steps("uniform_log_snr", schedule, n)
        high, low = ratios(schedule, self.t_max, self.t_min)
        return by_ratio(schedule, np.geomspace(high, low, n + 1), False)


@dataclass(frozen=True, kw_only=True)
class Custom(Config):
    """The times that are given, one more than there are steps; a last time of 0 is data."""

    t: tuple[float, ...] = (1.0, 0.0)

    def __call__(self, schedule: Schedule, n: int) -> Grid:
        """The grid; n is the number of its steps."""
        t = np.array(self.t)
        if n != len(t) - 1:
            raise ValueError(f"custom: expected {len(t) - 1} steps for {len(t)} times, got {n}. Give one time more.")
        if t[-1] == 0:
            return to_data(schedule, t[:-1])
        return checked(Grid(t, np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t)), schedule))


AnyGrid = Trailing | Leading | Linspace | Karras | Exponential | UniformLogSNR | Custom


def on_steps(schedule: Schedule, t: Places) -> Places:
    """Times moved to the nearest step of a discrete schedule."""
    n = schedule.n_steps
    return t if n is None else np.maximum(np.round(t * n), 1) / n


def to_data(schedule: Schedule, t: Places) -> Grid:
    """The grid of these times and then data: α = 1, σ = 0, whatever noise the schedule leaves at t = 0."""
    check_range(t)
    scales = np.append(schedule.alpha(t), 1.0), np.append(schedule.sigma(t), 0.0)
    return checked(Grid(np.append(t, 0.0), *scales, schedule))


def by_ratio(schedule: Schedule, ratio: Places, down_to_data: bool) -> Grid:
    """The grid of places with these σ/α."""
    t = np.asarray(schedule.inverse_log_snr(-2 * np.log(ratio)))
    t = np.clip(t, 0, 1)  # the ends carry rounding errors
    if down_to_data:
        return to_data(schedule, t)
    return checked(Grid(t, np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t)), schedule))


def ratios(schedule: Schedule, t_max: float, t_min: float | None) -> tuple[float, float]:
    """σ/α at both ends."""
    low = last_time(schedule) if t_min is None else t_min
    check_range(np.array([t_max, low]))
    alpha, sigma = (np.array([scale(t_max), scale(low)], float) for scale in (schedule.alpha, schedule.sigma))
    if alpha[0] < 1e-8 or sigma[1] == 0:
        raise ValueError(
            f"grid: expected some signal at t_max = {t_max} and some noise at t_min = {low}, got α = {alpha[0]:.3g} "
            f"and σ = {sigma[1]:.3g}. Their ratio would be infinite or 0; take t_max = 0.999 and t_min = 0.001, say."
        )
    return float(sigma[0] / alpha[0]), float(sigma[1] / alpha[1])


def last_time(schedule: Schedule) -> float:
    """The last time before data at which a network is asked."""
    if schedule.n_steps is not None:
        return 1 / schedule.n_steps
    return 0.0 if float(schedule.sigma(0.0)) > 0 else 1e-3


def check_steps(where: str, schedule: Schedule, n: int) -> None:
    """Refuse fewer than one step, and more steps than a discrete schedule has."""
    limit = schedule.n_steps
    if n < 1 or (limit is not None and n > limit):
        most = "" if limit is None else f" and at most {limit}, the steps of the schedule"
        raise ValueError(f"{where}: expected 'steps' of at least 1{most}, got {n}. Choose fewer, or at least one.")


def check_range(t: Places) -> None:
    """Refuse times outside [0, 1]."""
    outside = t[(t < 0) | (t > 1)]
    if outside.size:
        raise ValueError(f"grid: expected times in [0, 1], got {outside[0]}. 1 is noise and 0 is data.")


def checked(grid: Grid) -> Grid:
    """The grid itself, unless noise does not fall from each place to the next."""
    check_range(grid.t)
    ratio = np.arctan2(grid.sigma, grid.alpha)
    bad = np.flatnonzero(np.diff(ratio) >= 0)
    if bad.size:
        i = bad[0]
        raise ValueError(
            f"grid: expected times that fall from noise to data, got {grid.t[i]:.6g} and then {grid.t[i + 1]:.6g}. "
            "Sort them, drop repeated ones, or take fewer steps."
        )
    return grid
