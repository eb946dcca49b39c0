"""How a class y enters a network.

    one_hot                    e_y, joined to the input
    ConditionalBatchNorm [1]   γ_y (h − μ) / √(v + ε) + β_y,    μ and v over batch and places                    (1)
    Projection [2]             ψᵀ φ + b + ⟨V_y, φ⟩              of features φ                                    (2)

References:
    [1] Dumoulin, Shlens & Kudlur, A Learned Representation for Artistic Style, 2017, arXiv:1610.07629
    [2] Miyato & Koyama, cGANs with Projection Discriminator, 2018, arXiv:1802.05637
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from artifex.core.data.spec import DataSpec
from artifex.core.nn.init import ones, zeros
from artifex.gan.spectral import SpectralNorm

Labels = Int[Array, " batch"]


def one_hot(y: Labels | None, n_classes: int) -> Float[Array, "batch label"]:
    """e_y of each row; NaN, which the trainer refuses, for a class that does not exist.

    Raises:
        ValueError: there is no y.
    """
    if y is None:
        raise ValueError(f"one_hot: expected classes y, got none. Pass one from 0 to {n_classes - 1} for each row.")
    valid = (y >= 0) & (y < n_classes)
    return jnp.where(valid[:, None], jax.nn.one_hot(y, n_classes), jnp.nan)


def one_each(where: str, y: Any, n: int, n_classes: int) -> Labels:
    """One class for each of n rows; y may be one for all.

    Raises:
        ValueError: no y, another number of rows, or a class that does not exist.
    """
    if y is None:
        raise ValueError(f"{where}: expected a class y, got none. Pass one from 0 to {n_classes - 1}, or one a sample.")
    if not isinstance(y, Tracer) and not np.isin(np.asarray(y), np.arange(n_classes)).all():
        raise ValueError(f"{where}: expected classes y from 0 to {n_classes - 1}, got {np.asarray(y).tolist()}.")
    y = jnp.asarray(y)
    if y.size not in (1, n):
        raise ValueError(f"{where}: expected one class y or {n}, got {y.size}. Give one for all rows or one a row.")
    return jnp.broadcast_to(y.reshape(-1), (n,))


def check_classes(where: str, n_classes: int, spec: DataSpec) -> None:
    """Refuse data with other classes."""
    if spec.n_classes != n_classes:
        set_classes = f"Set model.n_classes to {spec.n_classes}" if spec.n_classes else "Choose data with labels"
        raise ValueError(
            f"{where}: expected data with {n_classes} classes y, got {spec.n_classes}. "
            f"{set_classes}, or a model without condition."
        )


class ConditionalBatchNorm(nnx.Module):
    """Batch normalisation with a scale and an offset for each class (eq. 1)."""

    def __init__(self, n_classes: int, width: int, *, rngs: nnx.Rngs) -> None:
        self.norm = nnx.BatchNorm(width, momentum=0.9, use_scale=False, use_bias=False, rngs=rngs)
        self.scale = nnx.Param(ones(rngs.params(), (n_classes, width)))
        self.offset = nnx.Param(zeros(rngs.params(), (n_classes, width)))

    def __call__(self, h: Float[Array, "batch *place width"], y: Labels) -> Float[Array, "batch *place width"]:
        """h, normalised and moved as the class wants it (eq. 1)."""
        place = (len(h), *[1] * (h.ndim - 2), h.shape[-1])
        scale, offset = (table[...][y].reshape(place).astype(h.dtype) for table in (self.scale, self.offset))
        return scale * self.norm(h) + offset  # eq. 1


class Projection(nnx.Module):
    """A critic's last layer: how real φ looks, and how much like its class (eq. 2)."""

    def __init__(self, n_classes: int, width: int, kernel_init: Any, *, rngs: nnx.Rngs) -> None:
        plain = nnx.Linear(width, 1, kernel_init=kernel_init, bias_init=zeros, rngs=rngs)
        classes = nnx.Linear(n_classes, width, use_bias=False, kernel_init=kernel_init, rngs=rngs)
        self.n_classes = n_classes
        self.plain = SpectralNorm(plain, rngs=rngs)
        self.classes = SpectralNorm(classes, rngs=rngs)

    def __call__(self, phi: Float[Array, "batch width"], y: Labels) -> Float[Array, " batch"]:
        """The logit of each row (eq. 2)."""
        like_class = self.classes(one_hot(y, self.n_classes).astype(phi.dtype))
        return self.plain(phi)[:, 0] + (like_class * phi).sum(-1)  # eq. 2
