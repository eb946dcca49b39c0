"""Low-pass filters, resampling, and the filtered nonlinearity of StyleGAN3.

    h[n]    = 2 f_c/s · sinc(2 f_c t_n) · w_β[n],   t_n = (n − (T−1)/2) / s,   Σ h = 1                            (1)
    h[n, m] ∝ f_c J₁(2π f_c r)/r · w_β[n] w_β[m],   r = √(t_n² + t_m²)                                           (2)
    A       = 2.285 (T−1) π Δf/(s/2) + 7.95                         attenuation in dB                            (3)
    β       = 0.1102 (A − 8.7) for A > 50,   0.5842 (A − 21)^0.4 + 0.07886 (A − 21) for A > 21,   else 0         (4)
    M[o, i] = h[d (o − (O−1)/2) − u (i − (I−1)/2) + (T−1)/2]        resampling by u/d about the common centre    (5)
    F(x)    = D σ(U x Uᵀ) Dᵀ                                        nonlinearity σ at a raised rate              (6)
for T taps at the rate s with cutoff f_c, a transition band Δf wide (2 f_h in [1]) and a Kaiser window w_β. A canvas is
a window on an endless signal, so entries outside it count as zero.

Each axis is resampled by products with blocks of the banded matrix (5), constants of the compiled program: matrix units
do it without a kernel of our own, its gradients of any order are products too, and a CPU does it many times faster
than a convolution for each channel (`benchmarks/stylegan3.py`). A radial filter (2) is not separable; it
is symmetric, so its eigenvectors split it into a few filters that are, exactly:
    h[n, m] = Σ_k λ_k v_k[n] v_k[m]                                                                              (7)

References:
    [1] Karras et al., Alias-Free Generative Adversarial Networks, 2021, arXiv:2106.12423, appendix C
    [2] Kaiser, Nonrecursive Digital Filter Design Using the I₀-sinh Window Function, 1974
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Image = Float[Array, "batch height width channel"]
Resampled = Float[Array, "batch height_out width_out channel"]
Taps = Float[np.ndarray, " tap"]
Square = Float[np.ndarray, "tap tap"]
Matrix = Float[np.ndarray, "out in"]
NEGLIGIBLE = 1e-7  # of the largest eigenvalue: what float32 resolves
BLOCK = 32  # rows of a banded matrix that are one product


class Band(NamedTuple):
    """What a low-pass filter passes, in the units of the rate."""

    cutoff: float  # f_c
    width: float  # Δf of the transition
    rate: float  # samples a unit of length


class Resampling(NamedTuple):
    """A filter and the rates between which it stands: y = Σ_k rows_k x columns_kᵀ."""

    rows: Float[np.ndarray, "term out in"]
    columns: Float[np.ndarray, "term out in"]


def kaiser_beta(n_taps: int, band: Band) -> float:
    """The window's shape for this many taps and this transition (eq. 3, 4)."""
    attenuation = 2.285 * (n_taps - 1) * np.pi * band.width / (band.rate / 2) + 7.95
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    excess = max(attenuation - 21, 0)
    return 0.5842 * excess**0.4 + 0.07886 * excess


def window(n_taps: int, band: Band) -> tuple[Taps, Taps]:
    """Places t_n of the taps, and the Kaiser window at them."""
    places = (np.arange(n_taps) - (n_taps - 1) / 2) / band.rate
    return places, np.kaiser(n_taps, kaiser_beta(n_taps, band))


def low_pass(n_taps: int, band: Band) -> Taps:
    """A separable filter of sum 1 (eq. 1)."""
    places, kaiser = window(n_taps, band)
    taps = np.sinc(2 * band.cutoff * places) * kaiser
    return taps / taps.sum()


def radial_low_pass(n_taps: int, band: Band) -> Square:
    """A filter of sum 1 that is the same in every direction, up to its square window (eq. 2)."""
    places, kaiser = window(n_taps, band)
    r = np.maximum(np.hypot(places[:, None], places), 1e-12)
    taps = bessel_j1(2 * np.pi * band.cutoff * r) / r * np.outer(kaiser, kaiser)
    return taps / taps.sum()


def bessel_j1(x: np.ndarray) -> np.ndarray:
    """J₁(x) = 1/π ∫₀^π cos(θ − x sin θ) dθ; the trapezoid rule is exact to 1e-15 for |x| < 64."""
    theta = 2 * np.pi * np.arange(128) / 128
    return np.cos(theta - x[..., None] * np.sin(theta)).mean(-1)


def resampling_matrix(taps: Taps, sizes: tuple[int, int], *, up: int = 1, down: int = 1) -> Matrix:
    """Resample `sizes` = (I, O) entries by up/down about the common centre (eq. 5).

    Raises:
        ValueError: no tap falls on the centre of an entry, so that the picture would move.
    """
    n_in, n_out = sizes
    twice = down * (2 * np.arange(n_out)[:, None] - n_out + 1) - up * (2 * np.arange(n_in) - n_in + 1) + len(taps) - 1
    if (twice % 2).any():
        raise ValueError(
            f"resampling_matrix: expected sizes, factors and taps with a common centre, got sizes {sizes}, factors "
            f"{up} and {down}, {len(taps)} taps. Make size × factor + taps even."
        )
    index = twice // 2
    inside = (index >= 0) & (index < len(taps))
    return np.where(inside, taps[np.clip(index, 0, len(taps) - 1)], 0.0)


def separable(taps: Taps, sizes: tuple[int, int], *, up: int = 1, down: int = 1) -> Resampling:
    """The same filter along both axes; `up` keeps the mean."""
    matrix = up * resampling_matrix(taps, sizes, up=up, down=down)[None]
    return Resampling(matrix, matrix)


def radial(taps: Square, sizes: tuple[int, int], *, down: int = 1) -> Resampling:
    """A symmetric square filter as a sum of separable ones (eq. 7)."""
    values, vectors = np.linalg.eigh(taps)
    kept = np.abs(values) > NEGLIGIBLE * np.abs(values).max()
    terms = [resampling_matrix(vector, sizes, down=down) for vector in vectors.T[kept]]
    return Resampling(np.stack(terms), values[kept, None, None] * np.stack(terms))


def resample(x: Image, by: Resampling) -> Resampled:
    """x filtered along height, then width."""
    tall = [jnp.einsum("kpi,bijc->kbpjc", part, x[:, seen]) for part, seen in blocks(by.rows, x.dtype)]
    x = jnp.concatenate(tall, 2)
    wide = [jnp.einsum("kqj,kbpjc->bpqc", part, x[:, :, :, seen]) for part, seen in blocks(by.columns, x.dtype)]
    return jnp.concatenate(wide, 2)


def blocks(matrices: Float[np.ndarray, "term out in"], dtype: jnp.dtype) -> Iterator[tuple[Array, slice]]:
    """Some rows of banded matrices at a time, cut to the entries that they see: the work grows as the picture does."""
    for start in range(0, matrices.shape[1], BLOCK):
        rows = matrices[:, start : start + BLOCK]
        seen = np.flatnonzero(rows.any((0, 1)))
        window = slice(int(seen[0]), int(seen[-1]) + 1) if seen.size else slice(0, 1)
        yield jnp.asarray(rows[:, :, window], dtype), window


def filtered_leaky_relu(
    x: Image, up: Resampling, down: Resampling, *, slope: float = 0.2, clamp: float = 256.0
) -> Resampled:
    """√2 · leaky ReLU of x, applied at the raised rate and brought back (eq. 6)."""
    raised = np.sqrt(2).astype(x.dtype) * jax.nn.leaky_relu(resample(x, up), slope)
    return resample(jnp.clip(raised, -clamp, clamp), down)
