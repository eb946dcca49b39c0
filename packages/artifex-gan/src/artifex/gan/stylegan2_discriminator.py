"""The critic of StyleGAN2, with a minibatch deviation.

    x      picture                                                               [batch, side, side, channel]
    B(x) = (conv₂(conv₁(x)) + skip(x)) / √2,    both paths halve the side after the filter (1, 3, 3, 1)/8        (1)
    m    = mean over entries of √(Var over the group + 1e-8), a channel more at side 4                           (2)
    D(x) = l₂(l₁(conv(x, m))),    or ⟨l₂(…), e(y)⟩ / √width with a class y, e of unit second moment             (3)
Each convolution and l₁ is followed by √2 · leaky ReLU; weights have an equalised learning rate. The channels at side r
are min(base / r, most). Group g of a batch of n holds rows g, g + n/4, g + 2n/4, g + 3n/4.

Differs:
    [2] maps y by eight layers before (3); here one layer embeds it.

References:
    [1] Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2020, arXiv:1912.04958
    [2] Karras et al., Training Generative Adversarial Networks with Limited Data, 2020, arXiv:2006.06676
    [3] Karras et al., Progressive Growing of GANs, 2018, arXiv:1710.10196: minibatch deviation
    [4] Miyato & Koyama, cGANs with Projection Discriminator, 2018, arXiv:1802.05637
"""

from __future__ import annotations

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.gan.condition import one_hot
from artifex.gan.equalised import Conv, Linear, leaky
from artifex.gan.filters import Resampling, resample, separable

Image = Float[Array, "batch height width channel"]
GROUP = 4  # rows whose deviation is compared
BINOMIAL = np.array([1, 3, 3, 1]) / 8


@functools.lru_cache
def smoothing(n_in: int, n_out: int, down: int) -> Resampling:
    """The binomial filter from one side to another."""
    return separable(BINOMIAL, (n_in, n_out), down=down)


class Block(nnx.Module):
    """Two convolutions beside a skip, to half the side (eq. 1)."""

    def __init__(self, n_in: int, n_out: int, *, rngs: nnx.Rngs) -> None:
        self.first = Conv(n_in, n_in, 3, rngs=rngs)
        self.second = Conv(n_in, n_out, 3, stride=2, rngs=rngs)
        self.skip = Conv(n_in, n_out, 1, bias=False, rngs=rngs)

    def __call__(self, x: Float[Array, "batch side side n_in"]) -> Float[Array, "batch half half n_out"]:
        """The block's outputs (eq. 1)."""
        side = x.shape[1]
        y = leaky(self.second(resample(leaky(self.first(x)), smoothing(side, side + 1, 1))))
        return (y + self.skip(resample(x, smoothing(side, side // 2, 2)))) * math.sqrt(0.5)


class StyleGAN2Discriminator(nnx.Module):
    """Pictures to logits."""

    def __init__(
        self, shape: tuple[int, int, int], base: int, most: int, *, n_classes: int | None = None, rngs: nnx.Rngs
    ) -> None:
        sides = [shape[0] >> i for i in range(int(math.log2(shape[0])) - 1)]  # down to 4
        widths = [min(base // side, most) for side in sides]
        last = widths[-1]
        self.colours = Conv(shape[2], widths[0], 1, rngs=rngs)
        self.blocks = nnx.List(Block(i, o, rngs=rngs) for i, o in itertools.pairwise(widths))
        self.conv = Conv(last + 1, last, 3, rngs=rngs)
        self.hidden = Linear(16 * last, last, rngs=rngs)
        self.logit = Linear(last, last if n_classes else 1, rngs=rngs)
        self.embed = Linear(n_classes, last, rngs=rngs) if n_classes else None

    def __call__(self, x: Image, y: Int[Array, " batch"] | None = None) -> Float[Array, " batch"]:
        """The logit of each row (eq. 3)."""
        x = leaky(self.colours(x))
        for block in self.blocks:
            x = block(x)
        x = leaky(self.conv(with_deviation(x)))
        x = self.logit(leaky(self.hidden(x.reshape(len(x), -1))))
        if self.embed is None:
            return x[:, 0]
        e = self.embed(one_hot(y, self.embed.kernel.shape[0]).astype(x.dtype))
        e = e * jax.lax.rsqrt((e**2).mean(-1, keepdims=True) + 1e-8)
        return (x * e).sum(-1) / math.sqrt(x.shape[-1])


def with_deviation(x: Image) -> Float[Array, "batch height width channel_and_one"]:
    """x and the deviation of its group as a channel more (eq. 2).

    Raises:
        ValueError: the batch does not divide into groups.
    """
    n, height, width, _ = x.shape
    group = min(GROUP, n)
    if n % group:
        raise ValueError(
            f"StyleGAN2Discriminator: expected a batch that divides into groups of {group}, got {n} rows. "
            f"Set trainer.batch_size to {n - n % group}."
        )
    whole = x.astype(jnp.float32).reshape(group, n // group, *x.shape[1:])
    deviation = jnp.sqrt(whole.var(0) + 1e-8).mean((1, 2, 3))  # one a group
    channel = jnp.tile(deviation, group)[:, None, None, None].astype(x.dtype)
    return jnp.concatenate([x, jnp.broadcast_to(channel, (n, height, width, 1))], -1)
