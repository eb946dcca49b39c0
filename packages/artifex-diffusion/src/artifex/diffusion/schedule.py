"""The published noise schedules: how much signal and how much noise is left at time t.

| schedule        | α                                  | σ                    |
|-----------------|------------------------------------|----------------------|
| `vp_linear` [2] | exp(−t²(β₁ − β₀)/4 − t β₀/2)       | √(1 − α²)            |
| `sub_vp` [2]    | the same                           | 1 − α²               |
| `cosine` [3]    | cos θ / cos θ₀, θ = π/2 (t+s)/(1+s) | √(1 − α²)            |
| `ve` [2]        | 1                                  | σ_min (σ_max/σ_min)ᵗ |
| `edm` [4]       | 1                                  | (σ_min^¹ᐟᵖ + t (σ_max^¹ᐟᵖ − σ_min^¹ᐟᵖ))ᵖ, p = ρ |
| `rectified_flow` [5] | 1 − s                         | s = k t/(1 + (k − 1) t), k the shift |
| `discrete` [1]  | √ᾱᵢ, ᾱᵢ = Π_{j ≤ i} (1 − βⱼ), i = T t | √(1 − ᾱᵢ)         |

References:
    [1] Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239
    [2] Song et al., Score-Based Generative Modeling through SDEs, 2021, arXiv:2011.13456
    [3] Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, arXiv:2102.09672
    [4] Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022, arXiv:2206.00364
    [5] Liu, Gong & Liu, Flow Straight and Fast, 2022, arXiv:2209.03003
    [6] Lin et al., Common Diffusion Noise Schedules and Sample Steps are Flawed, 2023, arXiv:2305.08891
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from artifex.core.config import Config
from artifex.diffusion.process import Level, Schedule, space

Table = Float[np.ndarray, " step"]
BetaRule = Literal["linear", "scaled_linear", "cosine"]


@dataclass(frozen=True, kw_only=True)
class VPLinear(Config, Schedule, tag="vp_linear"):
    """Variance preserving, with a rate β that rises linearly [2]."""

    beta_min: float = 0.1  # β₀
    beta_max: float = 20.0  # β₁

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        check_rates("VPLinear", self.beta_min, self.beta_max)

    def alpha(self, t: Level) -> Level:
        """The scale of the signal."""
        return space(t).exp(log_alpha(self.beta_min, self.beta_max, t))

    def sigma(self, t: Level) -> Level:
        """√(1 − α²), exact near 0 too."""
        xp = space(t)
        return xp.sqrt(-xp.expm1(2 * log_alpha(self.beta_min, self.beta_max, t)))

    def inverse_log_snr(self, log_snr: Level) -> Level:
        """The root of a quadratic in t: α² = sigmoid(log SNR)."""
        return time_of_log_alpha(self.beta_min, self.beta_max, -0.5 * softplus(-log_snr))

    def drift(self, t: Level) -> Level:
        """−β/2."""
        return -0.5 * (self.beta_min + t * (self.beta_max - self.beta_min))

    def diffusion(self, t: Level) -> Level:
        """√β."""
        return space(t).sqrt(-2 * self.drift(t))


@dataclass(frozen=True, kw_only=True)
class SubVP(Config, Schedule, tag="sub_vp"):
    """Less noise than the variance-preserving schedule of the same rate [2]."""

    beta_min: float = 0.1  # β₀
    beta_max: float = 20.0  # β₁

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        check_rates("SubVP", self.beta_min, self.beta_max)

    def alpha(self, t: Level) -> Level:
        """The scale of the signal."""
        return space(t).exp(log_alpha(self.beta_min, self.beta_max, t))

    def sigma(self, t: Level) -> Level:
        """1 − α²."""
        return -space(t).expm1(2 * log_alpha(self.beta_min, self.beta_max, t))

    def inverse_log_snr(self, log_snr: Level) -> Level:
        """From the positive root of r α² + α − r = 0, r = α/σ."""
        xp = space(log_snr)
        # 2r/(1 + √(1 + 4r²)) divided by 2r, so that large r does not overflow
        inverse = 0.5 * xp.exp(-0.5 * log_snr)
        return time_of_log_alpha(self.beta_min, self.beta_max, -xp.log(inverse + xp.sqrt(1 + inverse**2)))

    def drift(self, t: Level) -> Level:
        """−β/2."""
        return -0.5 * (self.beta_min + t * (self.beta_max - self.beta_min))

    def diffusion(self, t: Level) -> Level:
        """√(β (1 − α⁴))."""
        xp = space(t)
        return xp.sqrt(2 * self.drift(t) * xp.expm1(4 * log_alpha(self.beta_min, self.beta_max, t)))


@dataclass(frozen=True, kw_only=True)
class Cosine(Config, Schedule):
    """A signal that falls like a cosine, to nothing at t = 1 [3]."""

    s: float = 0.008  # keeps the first steps from being too small

    def alpha(self, t: Level) -> Level:
        """The scale of the signal."""
        return space(t).cos(self._angle(t)) / math.cos(self._angle(0.0))

    def sigma(self, t: Level) -> Level:
        """√(1 − α²), as a product of sines, exact near 0 too."""
        xp = space(t)
        start = self._angle(0.0)
        grown = 0.5 * math.pi * t / (1 + self.s)  # θ − θ₀ without cancellation
        return xp.sqrt(xp.sin(grown) * xp.sin(self._angle(t) + start)) / math.cos(start)

    def inverse_log_snr(self, log_snr: Level) -> Level:
        """The angle whose sine has this SNR."""
        xp = space(log_snr)
        # sin²θ = 1 − α² cos²θ₀ with α² = sigmoid(log SNR); the tangent keeps digits at both ends.
        start = math.cos(self._angle(0.0)) ** 2
        signal = start * xp.exp(-softplus(-log_snr))
        angle = xp.arctan2(xp.sqrt(1 - signal), xp.sqrt(signal))
        return 2 / math.pi * angle * (1 + self.s) - self.s

    def drift(self, t: Level) -> Level:
        """−θ' tan θ."""
        return -0.5 * math.pi / (1 + self.s) * space(t).tan(self._angle(t))

    def diffusion(self, t: Level) -> Level:
        """√(−2 f)."""
        return space(t).sqrt(-2 * self.drift(t))

    def _angle(self, t: Level) -> Level:
        return 0.5 * math.pi * (t + self.s) / (1 + self.s)


@dataclass(frozen=True, kw_only=True)
class VE(Config, Schedule):
    """Noise that grows by equal factors on a signal that stays [2]."""

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        check_scales("VE", self.sigma_min, self.sigma_max)

    def alpha(self, t: Level) -> Level:
        """1."""
        return space(t).ones_like(t)

    def sigma(self, t: Level) -> Level:
        """The scale of the noise."""
        return self.sigma_min * space(t).exp(t * math.log(self.sigma_max / self.sigma_min))

    def inverse_log_snr(self, log_snr: Level) -> Level:
        """log σ is linear in t."""
        return (-0.5 * log_snr - math.log(self.sigma_min)) / math.log(self.sigma_max / self.sigma_min)

    def drift(self, t: Level) -> Level:
        """0."""
        return space(t).zeros_like(t)

    def diffusion(self, t: Level) -> Level:
        """σ √(2 log(σ_max/σ_min))."""
        return self.sigma(t) * math.sqrt(2 * math.log(self.sigma_max / self.sigma_min))

    def condition(self, t: Level) -> Level:
        """¼ log σ."""
        return 0.25 * space(t).log(self.sigma(t))


@dataclass(frozen=True, kw_only=True)
class EDM(Config, Schedule):
    """Noise on a signal that stays, its ρ-th root linear in t; t may leave [0, 1] a little in training [4]."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0  # larger spends more steps near the data

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        check_scales("EDM", self.sigma_min, self.sigma_max)

    def alpha(self, t: Level) -> Level:
        """1."""
        return space(t).ones_like(t)

    def sigma(self, t: Level) -> Level:
        """The scale of the noise."""
        low, high = self._roots()
        return (low + t * (high - low)) ** self.rho

    def inverse_log_snr(self, log_snr: Level) -> Level:
        """The ρ-th root of σ is linear in t."""
        low, high = self._roots()
        return (space(log_snr).exp(-0.5 * log_snr / self.rho) - low) / (high - low)

    def drift(self, t: Level) -> Level:
        """0."""
        return space(t).zeros_like(t)

    def diffusion(self, t: Level) -> Level:
        """√(2 σ σ')."""
        low, high = self._roots()
        slope = self.rho * (low + t * (high - low)) ** (self.rho - 1) * (high - low)
        return space(t).sqrt(2 * self.sigma(t) * slope)

    def condition(self, t: Level) -> Level:
        """¼ log σ."""
        return 0.25 * space(t).log(self.sigma(t))

    def _roots(self) -> tuple[float, float]:
        return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)


@dataclass(frozen=True, kw_only=True)
class RectifiedFlow(Config, Schedule):
    """A straight line from data to noise [5]; a shift above 1 spends more of t near the noise."""

    shift: float = 1.0  # k

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        if self.shift <= 0:
            raise ValueError(f"RectifiedFlow: expected 'shift' > 0, got {self.shift}. Use 1 for none.")

    def alpha(self, t: Level) -> Level:
        """1 − s."""
        return (1 - t) / (1 + (self.shift - 1) * t)

    def sigma(self, t: Level) -> Level:
        """s."""
        return self.shift * t / (1 + (self.shift - 1) * t)

    def inverse_log_snr(self, log_snr: Level) -> Level:
        """The line is at s = 1/(1 + α/σ)."""
        s = 1 / (1 + space(log_snr).exp(0.5 * log_snr))
        return s / (self.shift - (self.shift - 1) * s)

    def drift(self, t: Level) -> Level:
        """−s'/(1 − s): infinite at t = 1."""
        return -self._speed(t) / self.alpha(t)

    def diffusion(self, t: Level) -> Level:
        """√(2 s s'/(1 − s))."""
        return space(t).sqrt(-2 * self.sigma(t) * self.drift(t))

    def _speed(self, t: Level) -> Level:
        return self.shift / (1 + (self.shift - 1) * t) ** 2


@dataclass(frozen=True, kw_only=True)
class Discrete(Config, Schedule):
    """T steps that add noise of variance β each [1]; t = i/T, and t = 0 is data.

    Traced times are rounded to their step. On the host a time between two steps is refused, because a solver that asks
    for one needs continuity.
    """

    rule: BetaRule = "linear"  # how β rises
    steps: int = 1000  # T
    beta_start: float = 1e-4  # of `linear` and `scaled_linear`, which is linear in √β
    beta_end: float = 0.02
    betas: tuple[float, ...] | None = None  # the T values themselves, in place of all the above

    def __post_init__(self) -> None:
        Config.__post_init__(self)
        betas = betas_of(self)
        bad = [f"betas[{i}] = {b}" for i, b in enumerate(betas) if not (0 < b < 1 or (b == 1 and i + 1 == len(betas)))]
        if bad or not len(betas):
            got = bad[0] if bad else "none"
            raise ValueError(
                f"Discrete: expected at least one of 'betas', inside (0, 1), got {got}. "
                "Only the last one may be 1, where the signal ends at 0."
            )

    @property
    def n_steps(self) -> int:
        """T."""
        return self.steps if self.betas is None else len(self.betas)

    def table(self, name: Literal["beta", "alpha", "sigma"]) -> Table:
        """β, α or σ of steps 0 … T in float64; step 0 is data."""
        return _tables(self)[name]

    def alpha(self, t: Level) -> Level:
        """√ᾱ."""
        return self._at("alpha", t)

    def sigma(self, t: Level) -> Level:
        """√(1 − ᾱ)."""
        return self._at("sigma", t)

    def inverse_log_snr(self, log_snr: Level) -> Level:
        """The time of the step with this log SNR, on the host only; a value between two steps is refused."""
        with np.errstate(divide="ignore"):
            steps = 2 * np.log(self.table("alpha") / self.table("sigma"))
        wanted = np.asarray(log_snr, float)
        found = np.abs(steps - wanted[..., None]).argmin(-1) if wanted.size else wanted.astype(int)
        exact = np.isclose(steps[found], wanted, rtol=1e-9, atol=1e-9)
        if not exact.all():
            raise between_steps(self, f"log SNR {wanted[~exact].flat[0]:.4g}")
        return found / self.n_steps

    def drift(self, t: Level) -> Level:
        """−T β/2, of the continuous schedule that the steps approximate."""
        return -0.5 * self.n_steps * self._at("beta", t)

    def diffusion(self, t: Level) -> Level:
        """√(T β), of the continuous schedule that the steps approximate."""
        return space(t).sqrt(-2 * self.drift(t))

    def condition(self, t: Level) -> Level:
        """The step's index, 0 … T − 1."""
        return space(t).round(self.n_steps * t) - 1

    def _at(self, name: Literal["beta", "alpha", "sigma"], t: Level) -> Level:
        if isinstance(t, jax.Array):
            table = jnp.asarray(self.table(name), t.dtype)
            return table[jnp.round(t * self.n_steps).astype(jnp.int32)]
        place = np.asarray(t, float) * self.n_steps
        if np.abs(place - np.round(place)).max(initial=0) > 1e-6:
            raise between_steps(self, f"t = {t}")
        return self.table(name)[np.round(place).astype(int)]


AnySchedule = VPLinear | SubVP | Cosine | VE | EDM | RectifiedFlow | Discrete


@functools.lru_cache(maxsize=64)
def _tables(schedule: Discrete) -> dict[str, Table]:
    """β, α and σ of steps 0 … T."""
    betas = np.concatenate([[0.0], betas_of(schedule)])
    alpha_bar = np.cumprod(1 - betas)
    return {"beta": betas, "alpha": np.sqrt(alpha_bar), "sigma": np.sqrt(1 - alpha_bar)}


def betas_of(schedule: Discrete) -> Table:
    """The variances that the steps add."""
    if schedule.betas is not None:
        return np.array(schedule.betas, float)
    low, high, n = schedule.beta_start, schedule.beta_end, schedule.steps
    if schedule.rule == "linear":
        return np.linspace(low, high, n)
    if schedule.rule == "scaled_linear":
        return np.linspace(low**0.5, high**0.5, n) ** 2
    alpha = np.asarray(Cosine().alpha(np.arange(n + 1) / n))
    return np.minimum(1 - (alpha[1:] / alpha[:-1]) ** 2, 0.999)  # [3]: 0.999 keeps the last step finite


def zero_terminal_snr(schedule: Discrete) -> Discrete:
    """The schedule with √ᾱ shifted and scaled so that the last step is pure noise and the first stays [6]."""
    root = schedule.table("alpha")[1:]
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    bar = np.concatenate([[1.0], root**2])
    return Discrete(betas=tuple(float(beta) for beta in 1 - bar[1:] / bar[:-1]))


def log_alpha(beta_min: float, beta_max: float, t: Level) -> Level:
    """log α of a rate that rises linearly: −½ ∫ β."""
    return -0.25 * t**2 * (beta_max - beta_min) - 0.5 * t * beta_min


def time_of_log_alpha(beta_min: float, beta_max: float, value: Level) -> Level:
    """The inverse of `log_alpha`, in the form of the quadratic's root that does not cancel."""
    return -4 * value / (beta_min + space(value).sqrt(beta_min**2 - 4 * (beta_max - beta_min) * value))


def softplus(x: Level) -> Level:
    """log(1 + eˣ)."""
    xp = space(x)
    return xp.logaddexp(x, xp.zeros_like(x))


def check_rates(where: str, low: float, high: float) -> None:
    """Refuse rates that are not positive or fall."""
    if not 0 < low <= high:
        raise ValueError(f"{where}: expected 0 < 'beta_min' <= 'beta_max', got {low} and {high}. Try 0.1 and 20.")


def check_scales(where: str, low: float, high: float) -> None:
    """Refuse noise scales that are not positive or do not grow."""
    if not 0 < low < high:
        raise ValueError(f"{where}: expected 0 < 'sigma_min' < 'sigma_max', got {low} and {high}. Swap them.")


def between_steps(schedule: Discrete, got: str) -> ValueError:
    """The refusal of a place between two steps."""
    return ValueError(
        f"Discrete: expected a place on one of its {schedule.n_steps} steps, got {got}, between two of them. "
        "Take a solver and a grid that stay on the steps, or a schedule in continuous time such as VPLinear."
    )
