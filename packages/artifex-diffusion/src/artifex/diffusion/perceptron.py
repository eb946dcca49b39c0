"""A residual perceptron for vectors and small pictures.

    e = a(W₂ a(W₁ [sin, cos](c) + b₁) + b₂) + E_y               noise level and class                            (1)
    h_0 = W x + W_e e + b,   h_l = h_{l−1} + V_l a((1 + s_l) ⊙ n(U_l h_{l−1}) + m_l),   (s_l, m_l) = M_l e           (2)
    F = W' a(n(h_L)) + b'                                                                                        (3)
with a SiLU, n a layer normalisation without weights, and V_l zero at first, so that every block begins as the identity.

References:
    [1] Dhariwal & Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, arXiv:2105.05233 (scale and shift)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.config import Config
from artifex.core.nn.embed import fourier, sinusoidal
from artifex.core.nn.init import lecun_normal, normal, zeros

Vector = Float[Array, "batch width"]


@dataclass(frozen=True, kw_only=True)
class PerceptronConfig(Config, tag="perceptron"):
    """A residual perceptron; as it stands, for 8 × 8 pictures."""

    shape: tuple[int, ...] = (8, 8, 1)  # of the data, channels last
    n_classes: int | None = None  # y counts from 0; y = n_classes says that no class is given
    out_channels: int | None = None  # of the prediction; those of the data when None
    width: int = 256
    depth: int = 3  # residual blocks
    embed_dim: int = 64  # of noise level and class
    embedding: Literal["sinusoidal", "fourier"] = "sinusoidal"  # of the noise level; fourier suits ¼ log σ

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1 or self.depth < 0 or self.embed_dim < 2 or self.embed_dim % 2:
            raise ValueError(
                "PerceptronConfig: expected 'width' >= 1, 'depth' >= 0 and an even 'embed_dim' >= 2, got "
                f"{self.width}, {self.depth} and {self.embed_dim}. Half of 'embed_dim' are sines, half cosines."
            )


class Embedding(nnx.Module):
    """A vector for the noise level and the class (eq. 1)."""

    def __init__(self, config: PerceptronConfig, *, rngs: nnx.Rngs) -> None:
        width, n_classes = config.embed_dim, config.n_classes
        self.width, self.kind = width, config.embedding
        self.first = linear(width, width, rngs=rngs)
        self.second = linear(width, width, rngs=rngs)
        self.n_classes = n_classes
        if n_classes is not None:
            # One row more than there are classes: the last one says that none is given.
            self.classes = nnx.Param(normal(1.0)(rngs.params(), (n_classes + 1, width)))

    def __call__(self, c: Float[Array, " batch"], y: Int[Array, " batch"] | None) -> Vector:
        """e; NaN for a class out of range, which the loss refuses, instead of another class's."""
        e = sinusoidal(c, self.width) if self.kind == "sinusoidal" else fourier(c, self.width)
        e = e.astype(self.first.kernel[...].dtype)
        e = jax.nn.silu(self.second(jax.nn.silu(self.first(e))))
        if self.n_classes is None:
            return e
        y = jnp.full(len(c), self.n_classes) if y is None else y
        valid = (y >= 0) & (y <= self.n_classes)
        rows = self.classes[...][jnp.clip(y, 0, self.n_classes)]
        return e + jnp.where(valid[:, None], rows, jnp.nan).astype(e.dtype)


class Block(nnx.Module):
    """A residual block that the embedding scales and shifts (eq. 2)."""

    def __init__(self, width: int, embed: int, *, rngs: nnx.Rngs) -> None:
        self.into = linear(width, width, rngs=rngs)
        self.modulate = linear(embed, 2 * width, rngs=rngs)
        self.out = nnx.Linear(width, width, kernel_init=zeros, bias_init=zeros, rngs=rngs)

    def __call__(self, h: Vector, e: Float[Array, "batch embed"]) -> Vector:
        """h with the block's part added."""
        scale, shift = jnp.split(self.modulate(e), 2, axis=-1)
        return h + self.out(jax.nn.silu((1 + scale) * normalised(self.into(h)) + shift))


class Trunk(nnx.Module):
    """All layers but the last (eq. 1, 2)."""

    def __init__(self, config: PerceptronConfig, *, rngs: nnx.Rngs) -> None:
        self.embed = Embedding(config, rngs=rngs)
        self.into = linear(math.prod(config.shape), config.width, rngs=rngs)
        self.aside = nnx.Linear(config.embed_dim, config.width, use_bias=False, kernel_init=lecun_normal(), rngs=rngs)
        self.blocks = nnx.List(Block(config.width, config.embed_dim, rngs=rngs) for _ in range(config.depth))

    def __call__(
        self, xt: Float[Array, "batch *event"], c: Float[Array, " batch"], y: Int[Array, " batch"] | None = None
    ) -> Vector:
        """What the last layer sees."""
        e = self.embed(c, y)
        h = self.into(xt.reshape(len(xt), -1)) + self.aside(e)
        for block in self.blocks:
            h = block(h, e)
        return jax.nn.silu(normalised(h))


class Perceptron(nnx.Module):
    """The network (eq. 1 to 3)."""

    def __init__(self, config: PerceptronConfig, *, rngs: nnx.Rngs) -> None:
        self.shape = (*config.shape[:-1], config.out_channels or config.shape[-1])
        self.trunk = Trunk(config, rngs=rngs)
        self.out = linear(config.width, math.prod(self.shape), rngs=rngs)

    def __call__(
        self,
        xt: Float[Array, "batch *event"],
        c: Float[Array, " batch"],
        y: Int[Array, " batch"] | None = None,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "batch ..."]:
        """The prediction (eq. 3); nothing in it is random, so `rngs` is there for the contract alone."""
        return self.out(self.trunk(xt, c, y)).reshape(len(xt), *self.shape)


def normalised(h: Vector) -> Vector:
    """h with mean 0 and variance 1 in each row, computed in float32."""
    wide = h.astype(jnp.promote_types(h.dtype, jnp.float32))
    return jax.nn.standardize(wide).astype(h.dtype)


def linear(width: int, out: int, *, rngs: nnx.Rngs) -> nnx.Linear:
    """A linear layer with LeCun's weights."""
    return nnx.Linear(width, out, kernel_init=lecun_normal(), bias_init=zeros, rngs=rngs)
