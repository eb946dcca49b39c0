"""The process that turns data into noise, as all else sees it: signal and noise at time t.

    x_t = α(t) x₀ + σ(t) ε,   t ∈ [0, 1],  0 is data, 1 is noise                                                 (1)
    log SNR(t) = 2 log(α/σ), falling in t                                                                        (2)
    dx = f(t) x dt + g(t) dw,   f = d log α/dt,   g² = dσ²/dt − 2 f σ²                                           (3)

`artifex.diffusion.schedule` holds those that are published. Given a jax array, everything is traced in its dtype;
given a float or a numpy array it is float64 on the host, which is what grids and solver coefficients are made from.

References:
    Song et al., Score-Based Generative Modeling through SDEs, 2021, arXiv:2011.13456, eq. 5, for (3)
    Kingma et al., Variational Diffusion Models, 2021, arXiv:2107.00630, section 3.1, for (1) and (2)
"""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Level = Float[Array, "*batch"] | Float[np.ndarray, "*batch"] | float


class Schedule(Protocol):
    """A noise schedule (eq. 1 to 3)."""

    @property
    def n_steps(self) -> int | None:
        """Number of steps of a discrete schedule; None where t is continuous."""
        return None

    def alpha(self, t: Level) -> Level:
        """The scale of the signal."""
        ...

    def sigma(self, t: Level) -> Level:
        """The scale of the noise."""
        ...

    def log_snr(self, t: Level) -> Level:
        """2 log(α/σ) (eq. 2); ∞ without noise, −∞ without signal."""
        xp = space(t)
        with np.errstate(divide="ignore"):
            return 2 * (xp.log(self.alpha(t)) - xp.log(self.sigma(t)))

    def inverse_log_snr(self, log_snr: Level) -> Level:
        """The time at which the log SNR has this value."""
        ...

    def drift(self, t: Level) -> Level:
        """f (eq. 3)."""
        ...

    def diffusion(self, t: Level) -> Level:
        """g (eq. 3)."""
        ...

    def condition(self, t: Level) -> Level:
        """What a network is told about the noise level: 0 … 1000, whatever the number of steps."""
        return 1000 * t


def space(t: Any) -> Any:
    """jax's numpy for jax arrays, numpy for everything else."""
    return jnp if isinstance(t, jax.Array) else np
