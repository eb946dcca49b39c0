"""Flows: a base density, and an invertible map whose log-determinant is known.

    x                     data                                       [batch, *event]
    z = f(x; c)           base sample, c the context                 [batch, *event]
    log p(x) = log p(z) + log |det ∂z/∂x|                                                                        (1)
    f = f_L ∘ … ∘ f_1,    log |det ∂z/∂x| = Σ_l log |det ∂x_l/∂x_{l−1}|                                           (2)
    x = f⁻¹(z; c),        log |det ∂x/∂z| = −log |det ∂z/∂x|                                                     (3)
Forward is data to base, everywhere, and `log_det` is that of the direction called: nats, one value per row. A map that
is cheap in one direction only says so in `fast`. Maps of vectors work on xᵀ, so that a CPU runs along whole batches,
and turn the result back: between neighbours the transposes cancel, and compilers move nothing past one that stays.

References:
    [1] Papamakarios et al., Normalizing Flows for Probabilistic Modeling and Inference, 2019, arXiv:1912.02762
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.core import Tracer
from jax.extend.core import Primitive
from jaxtyping import Array, Float, Int

from artifex.core.leaves import assign, flatten, merge, select

Data = Float[Array, "batch *event"]
Context = Float[Array, "batch context"]
BatchLast = Float[Array, "*event batch"]
PerRow = Float[Array, " batch"]
Fast = Literal["both", "forward", "inverse", "neither"]
Event = tuple[int, ...]


class Mapped(NamedTuple):
    """What a map gives, and log |det| of the direction called, in nats."""

    value: Float[Array, "batch *mapped"]
    log_det: PerRow


@runtime_checkable
class Bijector(Protocol):
    """An invertible map between data and base samples."""

    @property
    def event_shape(self) -> Event:
        """The shape of one event on the side of the data."""
        ...

    @property
    def fast(self) -> Fast:
        """The directions that take one pass."""
        ...

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """(z, log |det ∂z/∂x|)."""
        ...

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """(x, log |det ∂x/∂z|)."""
        ...


class FromData(nnx.Variable):
    """A value that the first batch sets, once; until then the map is a sound one with another scale."""


@runtime_checkable
class DataDependent(Protocol):
    """A map with `FromData` variables, or one that holds such maps."""

    def initialise(self, x: Data, context: Context | None, weight: PerRow) -> Float[Array, "batch *mapped"]:
        """z, after the variables were set from x, where each row counts with its weight."""
        ...


def initialise(bijector: Bijector, x: Data, context: Context | None, weight: PerRow) -> Float[Array, "batch *mapped"]:
    """z of a map whose `FromData` variables, if it has any, are set from x."""
    if isinstance(bijector, DataDependent):
        return bijector.initialise(x, context, weight)
    return bijector.forward(x, context).value


@runtime_checkable
class Estimated(Protocol):
    """A map whose log-determinant costs more than its value, and can be estimated for less."""

    def estimate(self, x: Data, context: Context | None, rngs: nnx.Rngs) -> Mapped:
        """(z, a draw whose mean is log |det ∂z/∂x|)."""
        ...

    def sample(self, z: Data, context: Context | None) -> Data:
        """x alone."""
        ...


def directions(bijectors: tuple[Bijector, ...]) -> Fast:
    """The directions in which every one of these maps takes one pass."""
    forward = all(b.fast in ("both", "forward") for b in bijectors)
    inverse = all(b.fast in ("both", "inverse") for b in bijectors)
    if forward:
        return "both" if inverse else "forward"
    return "inverse" if inverse else "neither"


class Chain(nnx.Module):
    """Maps one after another, the first of them next to the data (eq. 2)."""

    def __init__(self, *bijectors: Bijector) -> None:
        self.bijectors = nnx.List(bijectors)
        self.event_shape: Event = bijectors[0].event_shape
        self.fast: Fast = directions(bijectors)

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """Data to base."""
        log_det = jnp.zeros(len(x), x.dtype)
        for bijector in self.bijectors:
            x, step = bijector.forward(x, context)
            log_det = log_det + step  # eq. 2
        return Mapped(x, log_det)

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """Base to data."""
        log_det = jnp.zeros(len(z), z.dtype)
        for bijector in reversed(list(self.bijectors)):
            z, step = bijector.inverse(z, context)
            log_det = log_det + step
        return Mapped(z, log_det)

    def initialise(self, x: Data, context: Context | None, weight: PerRow) -> Float[Array, "batch *mapped"]:
        """Set each map from what the maps before it give."""
        for bijector in self.bijectors:
            x = initialise(bijector, x, context, weight)
        return x


KEPT = "kept"  # the name of what a gradient keeps


def kept(value: Float[Array, "..."] | Int[Array, "..."]) -> Any:
    """A value of a layer that `ScanChain` does not make again for a gradient."""
    return checkpoint_name(value, KEPT)


def keeps(primitive: Primitive, *operands: Any, **parameters: Any) -> bool:
    """Whether a gradient keeps a result: one that is `kept`, or a product not much larger than its factors.

    The rest of a layer is made again: what a loop keeps it also copies, which takes longer than to make it.
    """
    if primitive is not jax.lax.dot_general_p:
        return jax.checkpoint_policies.save_only_these_names(KEPT)(primitive, *operands, **parameters)
    left, right = operands
    (contracted, _), (batch, _) = parameters["dimension_numbers"]
    size = left.size * right.size // math.prod(left.shape[axis] for axis in contracted) ** 2
    return not batch and size <= 2 * (left.size + right.size)


remade = functools.partial(jax.checkpoint, prevent_cse=False, policy=keeps)


class ScanChain(nnx.Module):
    """Equal maps one after another as one loop, so that compiling takes no longer for more of them (eq. 2).

    The parameters of all layers are stacked along a first axis. Not for convolutions: on a CPU, XLA runs their gradient
    in a loop 20 to 90 times slower than outside; use `Chain`.

    Args:
        make: one layer, from the streams; it maps an event to an event of the same shape.
    """

    def __init__(self, make: Callable[[nnx.Rngs], Bijector], n_layers: int, *, rngs: nnx.Rngs) -> None:
        self.n_layers = n_layers
        self.layers = stacked([make(rngs) for _ in range(n_layers)])
        self.event_shape: Event = self.layers.event_shape
        self.fast: Fast = self.layers.fast

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """Data to base."""
        return self._through("forward", x, context)

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """Base to data."""
        return self._through("inverse", z, context)

    def _through(self, direction: Literal["forward", "inverse"], x: Data, context: Context | None) -> Mapped:
        """The layers in this direction, one after another."""
        layout, arrays = flatten(self.layers)

        @remade
        def layer(carry: tuple[BatchLast, PerRow], arrays: dict[str, Array]) -> tuple[tuple[BatchLast, PerRow], None]:
            x, log_det = carry
            moved, step = getattr(merge(layout, arrays), direction)(jnp.moveaxis(x, -1, 0), context)
            return (jnp.moveaxis(moved, 0, -1), log_det + step), None

        x, log_det = self._start(x)
        # Carried as the networks of the layers use it, or each layer would turn it there and back.
        start = (jnp.moveaxis(x, 0, -1), log_det)
        (x, log_det), _ = jax.lax.scan(layer, start, arrays, reverse=direction == "inverse")
        return Mapped(jnp.moveaxis(x, -1, 0), log_det)

    def initialise(self, x: Data, context: Context | None, weight: PerRow) -> Float[Array, "batch *mapped"]:
        """Set each layer from what the layers before it give."""
        layout, arrays = flatten(self.layers)

        def layer(x: Data, arrays: dict[str, Array]) -> tuple[Data, dict[str, Array]]:
            module = merge(layout, arrays)
            z = initialise(module, x, context, weight)
            found = flatten(module)[1]
            return z, {name: found[name].astype(arrays[name].dtype) for name in select(module, FromData)}

        z, found = jax.lax.scan(layer, self._start(x)[0], arrays)
        assign(self.layers, arrays | found)
        return z

    def _start(self, x: Data) -> tuple[Data, PerRow]:
        """x and a log-determinant of zero, in the dtype that the layers compute in."""
        kinds = [a.dtype for a in flatten(self.layers)[1].values() if jnp.issubdtype(a.dtype, jnp.floating)]
        x = x.astype(jnp.result_type(x.dtype, *kinds))
        return x, jnp.zeros(len(x), x.dtype)


def stacked(modules: list[Any]) -> Any:
    """One module of the structure of these, whose arrays hold those of all along a first axis.

    Raises:
        ValueError: the modules differ in structure.
    """
    layouts, arrays = zip(*(flatten(module) for module in modules), strict=True)
    if any(layout != layouts[0] for layout in layouts):
        raise ValueError(
            "ScanChain: expected layers of one structure, got layers that differ. Keep what differs from layer to "
            "layer in an nnx.Variable, or use Chain."
        )
    return merge(layouts[0], {name: _stack([part[name] for part in arrays]) for name in arrays[0]})


def _stack(arrays: list[Array]) -> Array:
    """The arrays along a new first axis; outside a trace on the host, where no program is compiled for it."""
    if any(isinstance(array, Tracer) for array in arrays):
        return jnp.stack(arrays)
    return jnp.asarray(np.stack([np.asarray(array) for array in arrays]))


class Inverse(nnx.Module):
    """A map with its directions swapped (eq. 3)."""

    def __init__(self, bijector: Bijector) -> None:
        swapped: dict[Fast, Fast] = {"forward": "inverse", "inverse": "forward"}
        self.bijector = bijector
        self.event_shape: Event = bijector.event_shape
        self.fast: Fast = swapped.get(bijector.fast, bijector.fast)

    def forward(self, x: Data, context: Context | None = None) -> Mapped:
        """The inner map's inverse."""
        return self.bijector.inverse(x, context)

    def inverse(self, z: Data, context: Context | None = None) -> Mapped:
        """The inner map's forward direction."""
        return self.bijector.forward(z, context)
