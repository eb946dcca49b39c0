"""StyleGAN3: pictures as samples of a signal that moves with its content.

    z ~ N(0, I)                        latent                                                          [batch, z]
    w = M(ẑ, ŷ)                        style: two layers, on inputs of unit second moment             [batch, style]
    w ← w̄ + ψ (w − w̄)                 truncation; w̄ is a running mean                                           (1)
    x₀[p] = A sin(2π (f·T p + φ))      waves |f| ≤ f_c, fixed; T turns and moves them, by w and by the user      (2)
    x     = C₁₄ ∘ … ∘ C₀ (x₀)          layers on canvases of 20 entries more than the picture's side
    C(x)  = F(conv(x · s) d / √E x² + b),    s = affine(w)                                                       (3)
    d     = 1 / √(Σ (W s)² + 1e-8)     demodulation: independent inputs of variance 1 stay so                    (4)
F is leaky ReLU at twice the rate, between low-pass filters (`filters`, eq. 6); E x² is a running mean. The layer to
colours has neither F nor d; the picture is a quarter of what it gives. Layer i of N + 1, the last of them to
colours, stands with e = min(i / (N − 2), 1) at

    f_c = 2 (R/4)^e,   f_t = 2^2.1 ((R/2) 2^0.3 / 2^2.1)^e                      cutoff, and where its stop band begins
    s   = 2^⌈log₂ min(2 f_t, R)⌉,   f_h = max(f_t, s/2) − f_c                   rate, half width of the transition  (5)
    size s + 20 (the last two: R),  channels min(base / (2 f_c), most)
T has 3×3 convolutions and separable filters: translation equivariant. R has 1×1 convolutions on twice the channels, and
radial filters down wherever f_c < s/2: rotation equivariant too. Training is StyleGAN2's game: softplus losses, R1 each
16th step, adaptive augmentation; R starts on blurred pictures, σ = 10 fading within 6250 steps.

Differs:
    w̄ starts from the mean of 1024 latents, not from 0, so truncation means something from the first step.
    Running means follow the fakes of both objectives; √E x² has a half-life of 20 000 pictures, whatever the batch.
    R1 is a term of the critic's loss each 16th step, not a pass of its own (see `penalty`).

References:
    [1] Karras et al., Alias-Free Generative Adversarial Networks, 2021, arXiv:2106.12423
    [2] Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2020, arXiv:1912.04958
    [3] Karras et al., A Style-Based Generator Architecture, 2019, arXiv:1812.04948
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.data.spec import DataSpec
from artifex.core.nn.init import constant, draw, normal
from artifex.core.protocols import Batch
from artifex.core.training.objective import StepContext, TrainingSpec
from artifex.gan.adversarial import (
    Game,
    GANConfig,
    GANOutputs,
    adversarial,
    check_data,
    from_unit,
    play,
    refuse_condition,
)
from artifex.gan.augment import ADA
from artifex.gan.condition import check_classes, one_each, one_hot
from artifex.gan.equalised import Linear, cast, convolve, leaky
from artifex.gan.filters import Band, Resampling, filtered_leaky_relu, low_pass, radial, radial_low_pass, separable
from artifex.gan.gan import NoiseModel
from artifex.gan.loss import nonsaturating
from artifex.gan.penalty import r1
from artifex.gan.stylegan2_discriminator import StyleGAN2Discriminator

Image = Float[Array, "batch height width channel"]
Wider = Float[Array, "batch height_out width_out channel_out"]
Latent = Float[Array, "batch latent"]
Style = Float[Array, "batch style"]
Labels = Int[Array, " batch"]
Transform = Float[Array, "3 3"]
MARGIN = 10  # entries of a canvas on each side of the picture
TAPS = 6  # of a filter, times its factor
HALF_LIFE = 20_000  # pictures within which a magnitude forgets half [1, appendix B]
MEAN_DECAY = 0.998  # of w̄, a step
CLAMP = 256.0  # of what leaves a nonlinearity, for half precision
OUTPUT_SCALE = 0.25
BLUR = 10.0  # σ of R's first pictures, in pixels


class Running(nnx.Variable):
    """A running mean that no gradient moves."""


class Fixed(nnx.Variable):
    """Numbers drawn once that nothing moves."""


@dataclass(frozen=True, kw_only=True)
class StyleGAN3TConfig(GANConfig):
    """StyleGAN3-T: translation equivariant."""

    training: ClassVar[dict[str, Any]] = {
        "batch_size": 32,
        "ema_decay": 0.998,
        "optimizers": (
            {"objective": "critic", "learning_rate": 2e-3, "betas": (0.0, 0.99)},
            {"objective": "generator", "learning_rate": 2.5e-3, "betas": (0.0, 0.99)},
        ),
    }

    rotation: ClassVar[bool] = False

    shape: tuple[int, int, int] = (64, 64, 3)  # of a picture: the side is a power of 2
    range: tuple[float, float] = (-1.0, 1.0)  # of the data
    n_classes: int | None = None  # of y; None draws without a condition
    z_dim: int = 64  # 512 in [1]
    w_dim: int = 64  # 512 in [1]
    base: int = 4096  # channels × cutoff × 2; 32768 in [1]
    max_channels: int = 128  # 512 in [1]
    critic_scale: int = 1  # the critic's channels over those of T's generator
    n_layers: int = 14  # before the one to colours
    gamma: float = 1.0  # of R1; [1] sets it by the data, 2 to 66 at 256 and above, less at smaller sides
    r1_every: int = 16  # steps
    ada_target: float | None = 0.6  # E sign D(x) at which adaptive augmentation holds; None is no augmentation
    blur_steps: int = 0  # over which the blur of what the critic sees fades

    def __post_init__(self) -> None:
        super().__post_init__()
        where, side = type(self).__name__, self.shape[0]
        near = max(8, 2 ** round(math.log2(max(side, 1))))
        if self.shape[0] != self.shape[1] or side != near:
            raise ValueError(
                f"{where}: expected square pictures whose side is a power of 2 and >= 8, got shape {self.shape}. "
                f"The nearest is {near}."
            )
        if self.n_layers < 3 or min(self.r1_every, self.critic_scale) < 1 or self.blur_steps < 0:
            raise ValueError(
                f"{where}: expected 'n_layers' >= 3, 'critic_scale' >= 1, 'r1_every' >= 1 and 'blur_steps' >= 0, got "
                f"{self.n_layers}, {self.critic_scale}, {self.r1_every} and {self.blur_steps}. The last two layers "
                "keep the full cutoff."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape and range of the data; six layers of at most 32 channels."""
        return cls.fitting(spec, base=1024, max_channels=32, n_layers=6)


@dataclass(frozen=True, kw_only=True)
class StyleGAN3RConfig(StyleGAN3TConfig):
    """StyleGAN3-R: translation and rotation equivariant."""

    rotation: ClassVar[bool] = True

    blur_steps: int = 6250  # 200 000 pictures at a batch of 32


class Stage(NamedTuple):
    """The signal behind a layer, in units of the picture's side (eq. 5)."""

    cutoff: float
    half_width: float
    rate: int
    size: int
    channels: int
    critical: bool  # no room between cutoff and s/2

    def band(self, rate: int) -> Band:
        """Its band at another rate."""
        return Band(self.cutoff, 2 * self.half_width, rate)


def schedule(config: StyleGAN3TConfig) -> tuple[Stage, ...]:
    """The stages of all layers, the one to colours last (eq. 5)."""
    return tuple(stage(config, i) for i in range(config.n_layers + 1))


def stage(config: StyleGAN3TConfig, i: int) -> Stage:
    """The stage behind layer i (eq. 5)."""
    side, last = config.shape[0], config.n_layers
    e = min(i / (last - 2), 1)
    cutoff = 2 * (side / 4) ** e
    stop = 2**2.1 * (side / 2 * 2**0.3 / 2**2.1) ** e
    rate = 2 ** math.ceil(math.log2(min(2 * stop, side)))
    scale = 2 if config.rotation else 1
    return Stage(
        cutoff=cutoff,
        half_width=max(stop, rate / 2) - cutoff,
        rate=rate,
        size=side if i >= last - 1 else rate + 2 * MARGIN,
        channels=config.shape[2] if i == last else round(scale * min(config.base / 2 / cutoff, config.max_channels)),
        critical=i >= last - 2,
    )


@functools.lru_cache
def filters_between(before: Stage, after: Stage, *, rotation: bool) -> tuple[Resampling, Resampling]:
    """From the canvas that a convolution with full padding leaves, up to twice the larger rate, and down."""
    rate = 2 * max(before.rate, after.rate)
    up, down = rate // before.rate, rate // after.rate
    fine = (after.size - 1) * down + TAPS * down
    entries = before.size + (0 if rotation else 2)
    raise_by = low_pass(TAPS * up, before.band(rate))
    raised = separable(raise_by, (entries, fine), up=up)
    if rotation and not after.critical:
        return raised, radial(radial_low_pass(TAPS * down, after.band(rate)), (fine, after.size), down=down)
    return raised, separable(low_pass(TAPS * down, after.band(rate)), (fine, after.size), down=down)


class Mapping(nnx.Module):
    """Latents (and classes) to styles."""

    def __init__(self, config: StyleGAN3TConfig, *, rngs: nnx.Rngs) -> None:
        self.deterministic = False  # nnx's switch for evaluation: the mean stays
        width = config.z_dim + (config.w_dim if config.n_classes else 0)
        self.embed = Linear(config.n_classes, config.w_dim, rngs=rngs) if config.n_classes else None
        self.layers = nnx.List(Linear(n, config.w_dim, rate=0.01, rngs=rngs) for n in (width, config.w_dim))
        z = draw(rngs.params(), "normal", (1024, config.z_dim), jnp.float32)
        y = jnp.arange(1024) % config.n_classes if config.n_classes else None
        self.mean = Running(self.style(z, y).mean(0))

    def __call__(self, z: Latent, y: Labels | None = None) -> Style:
        """The style of each row; in training mode the mean follows."""
        w = self.style(z, y)
        if not self.deterministic:
            seen = jax.lax.stop_gradient(w).mean(0).astype(self.mean.dtype)
            self.mean[...] = seen + MEAN_DECAY * (self.mean[...] - seen)
        return w

    def style(self, z: Latent, y: Labels | None) -> Style:
        """The style of each row."""
        x = unit(z)
        if self.embed is not None:
            label = one_hot(y, self.embed.kernel.shape[0]).astype(x.dtype)
            x = jnp.concatenate([x, unit(self.embed(label))], -1)
        for layer in self.layers:
            x = leaky(layer(x))
        return x

    def truncate(self, w: Style, truncation: float | Float[Array, ""]) -> Style:
        """Styles pulled towards their mean (eq. 1)."""
        mean = self.mean[...].astype(w.dtype)
        return mean + jnp.asarray(truncation, w.dtype) * (w - mean)


def unit(x: Float[Array, "batch width"]) -> Float[Array, "batch width"]:
    """Rows of unit second moment."""
    return x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-8)


class FourierInput(nnx.Module):
    """Waves on the first canvas (eq. 2)."""

    def __init__(self, first: Stage, w_dim: int, *, rngs: nnx.Rngs) -> None:
        n = first.channels
        self.first = first
        self.dtype: Any = None
        radius, angle, phase = draw(rngs.params(), "uniform", (3, n), jnp.float32, scale=0.5) + 0.5
        length = first.cutoff * jnp.sqrt(radius)  # uniform in the disc
        turn = 2 * jnp.pi * angle
        self.frequencies = Fixed(length * jnp.stack([jnp.cos(turn), jnp.sin(turn)]))
        self.phases = Fixed(phase - 0.5)
        self.affine = Linear(w_dim, 4, bias=(1.0, 0.0, 0.0, 0.0), rngs=rngs)
        self.affine.kernel[...] = jnp.zeros((w_dim, 4))
        self.mix = nnx.Param(normal(1.0)(rngs.params(), (n, n)))

    def __call__(self, w: Style, transform: Transform) -> Image:
        """The waves of each row, mixed (eq. 2)."""
        # Sums, not products of matrices: in low precision these angles would be noise.
        turned = (self.placed(w)[..., None] * transform).sum(-2)  # the user's transform acts first
        f, phases = self.turned(turned)
        beyond = jnp.hypot(f[:, 0], f[:, 1]) - self.first.cutoff
        amplitude = jnp.clip(1 - beyond / (self.first.rate / 2 - self.first.cutoff), 0, 1)
        p = (jnp.arange(self.first.size) + 0.5 - self.first.size / 2) / self.first.rate
        turns = f[:, 0, None, None] * p[:, None] + f[:, 1, None, None] * p[:, None, None] + phases[:, None, None]
        waves = jnp.sin(2 * jnp.pi * turns) * amplitude[:, None, None]
        waves, mix = cast(w.dtype if self.dtype is None else self.dtype, waves, self.mix[...])
        return jnp.einsum("bijc,co->bijo", waves, mix / math.sqrt(len(mix)))

    def turned(
        self, transform: Float[Array, "batch 3 3"]
    ) -> tuple[Float[Array, "batch 2 channel"], Float[Array, "batch channel"]]:
        """Frequencies and phases of the waves under a transform of the picture."""
        seen = self.frequencies[...][:, None] * transform[:, :2, :, None]
        return seen[:, :, :2].sum(1), self.phases[...] + seen[:, :, 2].sum(1)

    def placed(self, w: Style) -> Float[Array, "batch 3 3"]:
        """Rotation and translation of the waves that w asks for, from (r_c, r_s, t_x, t_y)."""
        c, s, x, y = jnp.moveaxis(self.affine(w).astype(jnp.float32), -1, 0)
        length = jnp.hypot(c, s)
        c, s, x, y = c / length, s / length, x / length, y / length
        rows = [[c, -s, s * y - c * x], [s, c, -s * x - c * y], [0 * c, 0 * c, 1 + 0 * c]]  # rotation after shift by −t
        return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


class Modulated(nnx.Module):
    """What all layers share: a convolution whose input channels a style scales (eq. 3)."""

    def __init__(self, sizes: tuple[int, int, int], w_dim: int, *, rngs: nnx.Rngs) -> None:
        window, n_in, n_out = sizes
        self.dtype: Any = None
        self.affine = Linear(w_dim, n_in, bias=(1.0,), rngs=rngs)
        self.kernel = nnx.Param(normal(1.0)(rngs.params(), (window, window, n_in, n_out)))
        self.bias = nnx.Param(constant(0.0)(rngs.params(), (n_out,)))
        self.square = Running(jnp.ones(()))  # E x²

    def __call__(self, x: Image, w: Style, *, demodulate: bool, decay: float | Float[Array, ""] | None) -> Wider:
        """conv(x s) d / √E x² + b; with a decay, the running mean moves first (eq. 3, 4)."""
        if decay is not None:
            seen = jnp.square(jax.lax.stop_gradient(x).astype(jnp.float32)).mean()
            self.square[...] = seen + decay * (self.square[...] - seen)
        x, kernel, bias, s = cast(self.dtype, x, self.kernel[...], self.bias[...], self.affine(w))
        gain = jax.lax.rsqrt(self.square[...])
        y = convolve(x * s[:, None, None], kernel, kernel.shape[0] - 1)
        if demodulate:
            power = jnp.matmul(s**2, (kernel**2).sum((0, 1)), preferred_element_type=jnp.float32)
            return y * (gain * jax.lax.rsqrt(power + 1e-8)).astype(y.dtype)[:, None, None] + bias  # eq. 4
        return y * (gain / math.sqrt(kernel.size / kernel.shape[-1])).astype(y.dtype) + bias


class Synthesis(nnx.Module):
    """Styles to pictures."""

    def __init__(self, config: StyleGAN3TConfig, *, rngs: nnx.Rngs) -> None:
        self.stages, self.rotation = schedule(config), config.rotation
        window = 1 if config.rotation else 3
        self.input = FourierInput(self.stages[0], config.w_dim, rngs=rngs)
        sources = (self.stages[0], *self.stages[:-1])
        windows = [window] * config.n_layers + [1]
        self.layers = nnx.List(
            Modulated((k, before.channels, after.channels), config.w_dim, rngs=rngs)
            for k, before, after in zip(windows, sources, self.stages, strict=True)
        )

    def __call__(
        self, w: Style, transform: Transform | None = None, *, decay: float | Float[Array, ""] | None = None
    ) -> Image:
        """The picture of each style.

        Args:
            transform: of the picture, as the matrix from its places to those of the untransformed one.
            decay: of the running means; they stay when None.
        """
        x, before = self.input(w, jnp.eye(3) if transform is None else transform), self.stages[0]
        for layer, after in zip(list(self.layers)[:-1], self.stages, strict=False):
            x = layer(x, w, demodulate=True, decay=decay)
            x = filtered_leaky_relu(x, *filters_between(before, after, rotation=self.rotation), clamp=CLAMP)
            before = after
        colours = self.layers[-1](x, w, demodulate=False, decay=decay)
        return OUTPUT_SCALE * jnp.clip(colours, -CLAMP, CLAMP)


class StyleGAN3Generator(nnx.Module):
    """Mapping and synthesis."""

    def __init__(self, config: StyleGAN3TConfig, *, rngs: nnx.Rngs) -> None:
        self.deterministic = False  # nnx's switch for evaluation: running means stay
        self.mapping = Mapping(config, rngs=rngs)
        self.synthesis = Synthesis(config, rngs=rngs)

    def __call__(self, z: Latent, y: Labels | None = None) -> Image:
        """The picture of each latent, within about [−1, 1]."""
        decay = None if self.deterministic else 0.5 ** (len(z) / HALF_LIFE)
        return self.synthesis(self.mapping(z, y), decay=decay)

    def calibrate(self, z: Latent, y: Labels | None = None) -> None:
        """Set the running means of x² to the means over these latents, as at the end of a long training."""
        self.synthesis(self.mapping.style(z, y), decay=0.0)


class StyleGAN3(NoiseModel):
    """What T and R share: all but their configs."""

    def __init__(self, config: StyleGAN3TConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        if config.n_classes:
            self.conditions = ("y",)  # pyright: ignore[reportAttributeAccessIssue]  of this config, not of its class
        self.generator = StyleGAN3Generator(config, rngs=rngs)
        base, most = config.critic_scale * config.base, config.critic_scale * config.max_channels
        self.discriminator = StyleGAN2Discriminator(config.shape, base, most, n_classes=config.n_classes, rngs=rngs)
        self.ada = ADA(config.ada_target) if config.ada_target is not None else None

    def __call__(self, x: Image, *, y: Labels | None = None, rngs: nnx.Rngs | None = None) -> GANOutputs:
        """Fakes, and the critic's logits of both."""
        return play(self, x, self.rngs_or_own(rngs), **({} if y is None else {"y": y}))

    def generate(
        self,
        n_samples: int = 1,
        *,
        y: Labels | None = None,
        z: Latent | None = None,
        truncation: float | Float[Array, ""] = 1.0,
        translate: tuple[float, float] | None = None,
        rotate: float | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Image:
        """Pictures of z, or of n draws of it.

        Args:
            truncation: ψ of eq. 1; 0 gives the picture of the mean style.
            translate: (right, down) by these shares of the side.
            rotate: by this many radians, counterclockwise, after the translation; of R only.
        """
        if rotate is not None and not self.config.rotation:
            raise ValueError(
                f"{type(self).__name__}.generate: expected no 'rotate', got {rotate}. Its layers do not keep "
                "rotations; use stylegan3_r."
            )
        y = self.class_of_each(y, n_samples)
        z = self.latent(n_samples, self.rngs_or_own(rngs)) if z is None else z
        if len(z) != n_samples:
            raise ValueError(
                f"{type(self).__name__}.generate: expected {n_samples} rows of z, got {len(z)}. Give one a sample."
            )
        mapping = self.generator.mapping
        w = mapping.truncate(mapping.style(z, y), truncation)
        x = self.generator.synthesis(w, placement(translate or (0.0, 0.0), 0.0 if rotate is None else rotate))
        return from_unit(x, self.config.range)

    def class_of_each(self, y: Any, n: int) -> Labels | None:
        """One class for each of n rows, or None without classes."""
        where, n_classes = f"{type(self).__name__}.generate", self.config.n_classes
        if n_classes:
            return one_each(where, y, n, n_classes)
        refuse_condition(self, y)
        return None

    def game(self, ctx: StepContext) -> Game:
        """Softplus losses and lazy R1, behind the blur of the step and adaptive augmentation."""
        dtype, steps = self.discriminator.colours.dtype, self.config.blur_steps

        def blurred(x: Image) -> Image:  # in the dtype that the critic computes in
            return fading_blur(x if dtype is None else x.astype(dtype), step=ctx.step, steps=steps)

        penalties = (r1(self.config.gamma, self.config.r1_every),)
        if self.ada is None:
            return Game(nonsaturating(), penalties, lambda x, rngs: blurred(x))
        ada = self.ada
        return Game(nonsaturating(), penalties, lambda x, rngs: ada(blurred(x), rngs), ada.observe)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, range or number of classes."""
        check_data(self.config, spec)
        if self.config.n_classes:
            check_classes(type(self).__name__, self.config.n_classes, spec)

    def training_spec(self) -> TrainingSpec:
        """Critic and generator; p of the augmentation moves before each step of the critic."""
        # The critic compares the rows of a batch, so parts of it do not add up.
        return adversarial(self, prepare=move_augmentation, additive=False)


class StyleGAN3T(StyleGAN3):
    """Translation equivariant."""


class StyleGAN3R(StyleGAN3):
    """Translation and rotation equivariant."""


def move_augmentation(model: StyleGAN3, batch: Batch, ctx: StepContext) -> None:
    """Move p of the augmentation by what the critic said of the last batch."""
    if model.ada is not None:
        model.ada.move(len(batch["x"]))


def placement(translate: tuple[Any, Any], rotate: Any) -> Transform:
    """The matrix from a picture's places (right, down; the side is 1) to those of the untransformed one."""
    x, y = translate
    c, s = jnp.cos(rotate), jnp.sin(rotate)
    zero, one = jnp.zeros_like(c), jnp.ones_like(c)
    # Undo the rotation, then the shift; down is positive, so counterclockwise turns x to −y.
    return jnp.stack([jnp.stack([c, -s, -x * one]), jnp.stack([s, c, -y * one]), jnp.stack([zero, zero, one])])


def fading_blur(x: Image, *, step: Int[Array, ""], steps: int) -> Image:
    """x under a Gaussian of deviation 10 (1 − step/steps) pixels; x itself once that is below a third of one."""
    if steps == 0:
        return x
    sigma = BLUR * jnp.maximum(1 - step / steps, 0)
    apart = np.arange(x.shape[1])[:, None] - np.arange(x.shape[1])
    weights = jnp.exp(-0.5 * (apart / jnp.maximum(sigma, 0.01)) ** 2)
    matrix = weights / (jnp.sqrt(2 * jnp.pi) * jnp.maximum(sigma, 0.4))
    blurred = jnp.einsum("pi,qj,bijc->bpqc", matrix.astype(x.dtype), matrix.astype(x.dtype), x)
    return jnp.where(sigma > 1 / 3, blurred, x)
