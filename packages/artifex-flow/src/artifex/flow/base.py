"""Base densities: what a flow maps its data to.

    N(0, I):      log p(z)   = −½ Σᵢ (zᵢ² + log 2π)                                                              (1)
    N(μ, σ²):     log p(z|c) = −½ Σᵢ ( ((zᵢ − μᵢ)/σᵢ)² + 2 log σᵢ + log 2π ),    (μ, log σ) = W c + b            (2)
    uniform:      log p(z)   = −D log 2B    on [−B, B]^D, −∞ outside                                             (3)

References:
    [1] Winkler et al., Learning Likelihoods with Conditional Normalizing Flows, 2019, arXiv:1912.00042
"""

from __future__ import annotations

import math
from typing import Protocol

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.nn.init import normal, zeros
from artifex.core.prob import gaussian, noise
from artifex.core.prob.gaussian import Gaussian
from artifex.flow.bijector import Context, Data, Event, PerRow

Temperature = float | Float[Array, ""]


class Base(Protocol):
    """A density that can be evaluated and sampled."""

    def log_prob(self, z: Data, context: Context | None = None) -> PerRow:
        """log p(z), nats."""
        ...

    def sample(self, n: int, rngs: nnx.Rngs, context: Context | None = None, *, temperature: Temperature = 1.0) -> Data:
        """n draws, whose spread is scaled by `temperature`."""
        ...


class StandardNormal(nnx.Module):
    """N(0, I) (eq. 1)."""

    def __init__(self, event_shape: Event, dtype: str = "float32") -> None:
        self.event_shape = event_shape
        self.dtype = dtype

    def log_prob(self, z: Data, context: Context | None = None) -> PerRow:
        """log p(z), nats (eq. 1)."""
        return gaussian.over_event(-0.5 * (z**2 + gaussian.LOG_2PI))  # eq. 1

    def sample(self, n: int, rngs: nnx.Rngs, context: Context | None = None, *, temperature: Temperature = 1.0) -> Data:
        """n draws."""
        return temperature * noise.normal(rngs, (n, *self.event_shape), jnp.dtype(self.dtype))


class ConditionalNormal(nnx.Module):
    """A Gaussian whose mean and deviation are affine in the context, near N(0, I) at the start (eq. 2)."""

    def __init__(self, event_shape: Event, context_dim: int, *, rngs: nnx.Rngs) -> None:
        self.event_shape = event_shape
        width = 2 * math.prod(event_shape)
        self.linear = nnx.Linear(context_dim, width, kernel_init=normal(0.01), bias_init=zeros, rngs=rngs)

    def moments(self, context: Context) -> Gaussian:
        """Mean and log σ given the context (eq. 2)."""
        mean, log_std = jnp.split(self.linear(context), 2, axis=-1)
        shape = (len(context), *self.event_shape)
        return Gaussian(mean.reshape(shape), log_std.reshape(shape))

    def log_prob(self, z: Data, context: Context) -> PerRow:
        """log p(z|c), nats (eq. 2)."""
        return gaussian.log_prob(self.moments(context), z)

    def sample(self, n: int, rngs: nnx.Rngs, context: Context, *, temperature: Temperature = 1.0) -> Data:
        """One draw for each row of the context, of which there are n."""
        p = self.moments(context)
        return gaussian.sample(Gaussian(p.mean, p.log_std + jnp.log(temperature)), rngs)


class Uniform(nnx.Module):
    """The uniform density on [−B, B]^D (eq. 3)."""

    def __init__(self, event_shape: Event, bound: float, dtype: str = "float32") -> None:
        self.event_shape = event_shape
        self.bound = bound
        self.dtype = dtype

    def log_prob(self, z: Data, context: Context | None = None) -> PerRow:
        """log p(z), nats; −∞ outside the box (eq. 3)."""
        log_volume = math.prod(self.event_shape) * math.log(2 * self.bound)
        # A point on the edge may be rounded across it.
        inside = (jnp.abs(z) <= self.bound * (1 + 1e-5)).reshape(len(z), -1).all(-1)
        return jnp.where(inside, -log_volume, -jnp.inf).astype(z.dtype)

    def sample(self, n: int, rngs: nnx.Rngs, context: Context | None = None, *, temperature: Temperature = 1.0) -> Data:
        """n draws."""
        unit = noise.uniform(rngs, (n, *self.event_shape), jnp.dtype(self.dtype))
        return temperature * self.bound * (2 * unit - 1)
