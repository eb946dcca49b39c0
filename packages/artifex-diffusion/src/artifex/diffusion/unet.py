"""The U-shaped network of DDPM: predicts from a noisy picture and its noise level.

    e   = W₂ silu(W₁ sin-cos(c)) + table[y]                      embedded noise level (and class)                  (1)
    h₀  = conv(x_t),   h_{i+1} = down_i(h_i, e)                  each level halves the sides, but the last         (2)
    u   = mid(h_n, e),   u ← up_i([u, h_i], e)                   and every h_i comes back on the way up            (3)
    out = conv(silu(norm(u)))
A level is `n_blocks` residual blocks, each followed by attention over places where the height is in `attention_at`; on
the way up there is one block more. With the kernels that close a branch at 0, the network starts as the zero function.

References:
    [1] Ho, Jain & Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239, appendix B
    [2] Dhariwal & Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, arXiv:2105.05233 (class table)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Shaped

from artifex.core.config import Config
from artifex.core.nn.embed import sinusoidal
from artifex.core.nn.init import zeros
from artifex.diffusion.blocks import (
    ClassTable,
    Downsample,
    Embedding,
    Features,
    GroupNorm,
    Image,
    Label,
    PlaceAttention,
    ResBlock,
    Style,
    Upsample,
    conv,
    linear,
)

NoiseLevel = Shaped[Array, " batch"]
Attend = Callable[[int, int], Any]  # (level, width) -> a module called as (picture, context)


@dataclass(frozen=True, kw_only=True)
class UNetConfig(Config, tag="unet"):
    """A U-shaped network; as it stands, for 28 × 28 pictures on two cores."""

    shape: tuple[int, int, int] = (28, 28, 1)  # of a picture: height, width, channels
    widths: tuple[int, ...] = (32, 64, 64)  # of each level; the paper has 128 256 256 256 for 32 × 32
    n_blocks: int = 1  # of each level on the way down; the paper has 2
    attention_at: tuple[int, ...] = (7,)  # heights of the levels with attention; the paper has 16
    n_heads: int = 1
    dropout: float = 0.0  # the paper has 0.1 for CIFAR-10
    groups: int = 32  # of the normalisation
    n_classes: int | None = None  # y counts from 0; y = n_classes says that no class is given
    out_channels: int | None = None  # of the prediction; those of the picture when None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sides("UNetConfig", self.shape, 2 ** (len(self.widths) - 1))
        check_groups("UNetConfig", self.widths, self.groups)
        heights = [self.shape[0] // 2**i for i in range(len(self.widths))]
        unknown = sorted(set(self.attention_at) - set(heights))
        if unknown:
            raise ValueError(
                f"UNetConfig: expected 'attention_at' among the heights {heights}, got {unknown[0]}. "
                "It names levels by their height, not by their number."
            )


def check_sides(where: str, shape: tuple[int, ...], factor: int) -> None:
    """Refuse pictures whose sides do not divide by `factor`."""
    if any(side % factor or side < factor for side in shape[:2]):
        raise ValueError(
            f"{where}: expected 'shape' with sides that divide by {factor}, got {shape}. Pad or crop the pictures, or "
            "take fewer levels or smaller patches."
        )


def check_groups(where: str, widths: tuple[int, ...], groups: int) -> None:
    """Refuse widths that do not fall into groups."""
    wrong = [width for width in widths if width % groups]
    if wrong:
        raise ValueError(
            f"{where}: expected 'widths' that divide by groups = {groups}, got {wrong[0]}. Set groups to a divisor of "
            "all widths."
        )


class Plan(NamedTuple):
    """The shape of the U."""

    widths: tuple[int, ...]
    n_blocks: int
    attends: tuple[bool, ...]  # whether a level has attention
    before: int  # rows of zeros before a picture that is halved: 0 as in DDPM, or 1


class Given(NamedTuple):
    """What the blocks see beside the picture."""

    embedding: Embedding | None
    context: Any  # tokens, for attention that looks at them
    rngs: nnx.Rngs | None  # for dropout


class TimeEmbedding(nnx.Module):
    """Two layers after the sines and cosines (eq. 1)."""

    def __init__(self, width: int, out: int, *, cosine_first: bool = False, rngs: nnx.Rngs) -> None:
        self.width, self.cosine_first = width, cosine_first
        self.linear1 = linear((width, out), rngs=rngs)
        self.linear2 = linear((out, out), rngs=rngs)

    def __call__(self, c: NoiseLevel, dtype: Any = jnp.float32) -> Embedding:
        """The embedded noise level, in the dtype of the picture."""
        # [1] ends its frequencies at 1/P; the later networks, which put cosines first, do not.
        e = sinusoidal(c, self.width, endpoint=not self.cosine_first, cosine_first=self.cosine_first)
        return self.linear2(jax.nn.silu(self.linear1(e.astype(dtype))))


class Level(nnx.Module):
    """Blocks of one size of picture, each with attention or none, and the change of size after them."""

    def __init__(self, blocks: list[ResBlock], attentions: list[Any], resize: Any) -> None:
        self.blocks = nnx.List(blocks)
        self.attentions = nnx.List(attentions)
        self.resize = resize

    def block(self, i: int, x: Image, given: Given) -> Features:
        """x after block i and its attention."""
        x = self.blocks[i](x, given.embedding, rngs=given.rngs)
        return self.attentions[i](x, given.context) if len(self.attentions) else x


class UShape(nnx.Module):
    """Down, through the middle, and up again with what was seen on the way down (eq. 2 and 3)."""

    def __init__(self, plan: Plan, style: Style, attend: Attend, *, rngs: nnx.Rngs) -> None:
        widths, last = plan.widths, len(plan.widths) - 1

        def level(i: int, pairs: list[tuple[int, int]], resize: Any) -> Level:
            attentions = [attend(i, out) for _, out in pairs] if plan.attends[i] else []
            return Level([ResBlock(pair, style, rngs=rngs) for pair in pairs], attentions, resize)

        self.down = nnx.List(
            level(i, pairs, None if i == last else Downsample(widths[i], plan.before, rngs=rngs))
            for i, pairs in enumerate(pairs_down(widths, plan.n_blocks))
        )
        self.mid = Level(
            [ResBlock((widths[-1], widths[-1]), style, rngs=rngs) for _ in range(2)], [attend(last, widths[-1])], None
        )
        self.up = nnx.List(
            level(last - i, pairs, None if i == last else Upsample(widths[last - i], rngs=rngs))
            for i, pairs in enumerate(pairs_up(widths, plan.n_blocks))
        )

    def __call__(self, h: Image, given: Given) -> Image:
        """Features of the picture's size from features of the same size."""
        seen = [h]
        for level in self.down:  # eq. 2
            for i in range(len(level.blocks)):
                h = level.block(i, h, given)
                seen.append(h)
            if level.resize is not None:
                h = level.resize(h)
                seen.append(h)
        h = self.mid.block(0, h, given)
        h = self.mid.blocks[1](h, given.embedding, rngs=given.rngs)
        for level in self.up:  # eq. 3
            for i in range(len(level.blocks)):
                h = level.block(i, jnp.concatenate([h, seen.pop()], axis=-1), given)
            h = h if level.resize is None else level.resize(h)
        return h


def pairs_down(widths: tuple[int, ...], n_blocks: int) -> list[list[tuple[int, int]]]:
    """Widths into and out of the blocks of each level on the way down."""
    before = (widths[0], *widths[:-1])
    return [[(b if k == 0 else w, w) for k in range(n_blocks)] for b, w in zip(before, widths, strict=True)]


def pairs_up(widths: tuple[int, ...], n_blocks: int) -> list[list[tuple[int, int]]]:
    """The same on the way up, where each block sees one stored picture beside what comes from below."""
    stored = [widths[0]]
    for i, width in enumerate(widths):
        stored += [width] * (n_blocks + (i < len(widths) - 1))
    h, levels = widths[-1], []
    for width in reversed(widths):
        pairs = []
        for _ in range(n_blocks + 1):
            pairs.append((h + stored.pop(), width))
            h = width
        levels.append(pairs)
    return levels


class UNet(nnx.Module):
    """Called as `network(xt, c, y)`, the contract of `prediction`; the prediction has the sides of the picture."""

    def __init__(self, config: UNetConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        first, embedding = config.widths[0], 4 * config.widths[0]
        style = Style(config.groups, 1e-6, embedding, config.dropout, zeros)
        attends = tuple(config.shape[0] // 2**i in config.attention_at for i in range(len(config.widths)))
        channels = config.shape[-1]
        self.time = TimeEmbedding(first, embedding, rngs=rngs)
        self.table = None if config.n_classes is None else ClassTable(config.n_classes, embedding, rngs=rngs)
        self.inp = conv((channels, first), rngs=rngs)
        self.body = UShape(
            Plan(config.widths, config.n_blocks, attends, 0),
            style,
            lambda _, width: PlaceAttention(width, style, n_heads=config.n_heads, rngs=rngs),
            rngs=rngs,
        )
        self.norm = GroupNorm(first, style)
        self.out = conv((first, config.out_channels or channels), init=zeros, rngs=rngs)

    def __call__(self, xt: Image, c: NoiseLevel, y: Label | None = None, *, rngs: nnx.Rngs | None = None) -> Features:
        """The prediction from x_t at noise level c, with dropout where there are random streams."""
        e = self.time(c, xt.dtype)
        e = e if self.table is None else self.table(y, e)  # eq. 1
        h = self.body(self.inp(xt), Given(e, None, rngs))
        return self.out(jax.nn.silu(self.norm(h)))
