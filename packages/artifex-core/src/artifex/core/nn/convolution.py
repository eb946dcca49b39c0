"""Convolutions of pictures whose gradients of every order are fast on a CPU too.

    T(x, w, g) = ⟨x ∗ w, g⟩        linear in pictures x, kernel w and cotangent g                                 (1)
    x ∗ w = ∂T/∂g,    back(w, g) = ∂T/∂x,    fit(x, g) = ∂T/∂w                                                    (2)
    fit(x, g)ᵢ = Σ over rows p of fit₁(x_{ps+i}, g_p),    fit₁ that of a row, s the stride                        (3)
    a transposed convolution of g with stride s is back(w, g), w flipped, its inputs for its outputs              (4)
Each of (2) is linear in two arguments, so its derivatives are the other two. Left to itself, a compiler sees `fit`, and
the gradient of `back`, as convolutions with a kernel as wide as the picture, dilated in the latter case. On a CPU XLA
takes many times as long for these as for (3), and they are what critics with a penalty on their slope, and generators
with (4), consist of (`benchmarks/gan_speed.py` times such a step). The values are those of `jax.lax`; what is lost is
forward-mode differentiation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

Pictures = Float[Array, "batch height width n_in"]
Results = Float[Array, "batch height_out width_out n_out"]
Kernel = Float[Array, "tall wide n_in n_out"]
Strides = tuple[int, int]
MANY = 512  # pairs of channels: fewer are faster at once, and smaller programs
Padding = str | Sequence[tuple[int, int]]  # "SAME", "VALID", or before and after both sides


def convolve(x: Pictures, kernel: Kernel, strides: Strides, padding: Padding) -> Results:
    """x ∗ w (eq. 2)."""
    return trilinear(x, kernel, strides, padding).convolve(x, kernel)


class Trilinear(NamedTuple):
    """Two of the derivatives of T (eq. 2)."""

    convolve: Callable[[Pictures, Kernel], Results]
    back: Callable[[Kernel, Results], Pictures]


def trilinear(x: Any, kernel: Any, strides: Strides, padding: Padding) -> Trilinear:
    """The derivatives of T for arrays of these shapes, each with the others as its own (eq. 2)."""
    x, kernel = (jax.ShapeDtypeStruct(array.shape, array.dtype) for array in (x, kernel))
    pads = padding
    if isinstance(padding, str):
        pads = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)

    def run(x, w):
        return jax.lax.conv_general_dilated(x, w, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    @jax.custom_vjp
    def conv(x, w):
        return run(x, w)

    @jax.custom_vjp
    def back(w, g):
        return jax.linear_transpose(lambda x: run(x, w), x)(g)[0]

    @jax.custom_vjp
    def fit(x, g):
        def at_once(x, g):
            return jax.linear_transpose(lambda w: run(x, w), kernel)(g)[0]

        by_rows = functools.partial(fit_by_rows, kernel=kernel, strides=strides, pads=pads)
        many = kernel.shape[-2] * kernel.shape[-1] >= MANY
        return jax.lax.platform_dependent(x, g, cpu=by_rows if many else at_once, default=at_once)

    conv.defvjp(lambda x, w: (conv(x, w), (x, w)), lambda xw, g: (back(xw[1], g), fit(xw[0], g)))
    back.defvjp(lambda w, g: (back(w, g), (w, g)), lambda wg, x: (fit(x, wg[1]), conv(x, wg[0])))
    fit.defvjp(lambda x, g: (fit(x, g), (x, g)), lambda xg, w: (back(w, xg[1]), conv(xg[0], w)))
    return Trilinear(conv, back)


def fit_by_rows(x: Pictures, g: Results, *, kernel: Any, strides: Strides, pads: Any) -> Kernel:
    """fit(x, g), a row of the kernel after the other (eq. 3)."""
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    row = jax.ShapeDtypeStruct(kernel.shape[1:], kernel.dtype)
    below, span = g.reshape(-1, *g.shape[2:]), strides[0] * (g.shape[1] - 1) + 1

    def fit_row(i: int) -> Float[Array, "wide n_in n_out"]:
        above = x[:, i : i + span : strides[0]].reshape(-1, *x.shape[2:])

        def slide(w):
            return jax.lax.conv_general_dilated(above, w, strides[1:], "VALID", dimension_numbers=("NWC", "WIO", "NWC"))

        return jax.linear_transpose(slide, row)(below)[0]

    return jnp.stack([fit_row(i) for i in range(kernel.shape[0])])


class Conv(nnx.Conv):
    """`nnx.Conv` of pictures, without groups or dilation, by eq. 2."""

    def __init__(self, *sizes: Any, **options: Any) -> None:
        check(type(self), options, "input_dilation", "kernel_dilation", "feature_group_count")
        super().__init__(*sizes, conv_general_dilated=as_nnx_calls_it, **options)


class ConvTranspose(nnx.ConvTranspose):
    """`nnx.ConvTranspose` of pictures by eq. 4, with padding "SAME": sides grow by the strides."""

    def __init__(self, *sizes: Any, **options: Any) -> None:
        check(type(self), options, "padding", "kernel_dilation", "transpose_kernel")
        super().__init__(*sizes, **options)

    def __call__(self, g: Results) -> Pictures:
        """The layer's outputs."""
        bias = None if self.bias is None else self.bias[...]
        g, kernel, bias = self.promote_dtype((g, self.kernel[...], bias), dtype=self.dtype)
        tall, wide = (self.strides, self.strides) if isinstance(self.strides, int) else self.strides or (1, 1)
        n, height, width, _ = g.shape
        x = jax.ShapeDtypeStruct((n, tall * height, wide * width, kernel.shape[-1]), g.dtype)
        w = kernel[::-1, ::-1].swapaxes(-1, -2)
        y = trilinear(x, w, (tall, wide), "SAME").back(w, g)
        return y if bias is None else y + bias


def as_nnx_calls_it(x: Pictures, kernel: Kernel, strides: Any, padding: Padding, **defaults: Any) -> Results:
    """`convolve`, without what `Conv` leaves at its defaults."""
    return convolve(x, kernel, strides, padding)


def check(layer: type, options: dict[str, Any], *names: str) -> None:
    """Refuse options that a layer would leave out of account."""
    if found := sorted(options.keys() & set(names)):
        raise ValueError(
            f"{layer.__name__}: expected no {' or '.join(names)}, got {', '.join(found)}. Use the layer of nnx."
        )
