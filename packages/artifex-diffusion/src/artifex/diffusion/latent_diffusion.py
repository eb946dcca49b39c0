"""Latent diffusion: any diffusion model on the codes of any autoencoder.

    z = s code(x),   s = 1 / deviation of the codes          a draw from q(z|x) where the autoencoder has one     (1)
    L = the diffusion model's own loss at z                  the autoencoder stays as it is                       (2)
    x = decode(z / s)                                        z from the diffusion model                           (3)
s is measured once, on the first batch or by `measure_scale`, and kept with the weights. Data that are always the same
can be encoded once: `encode_all` makes them the data on which `model.diffusion` is trained by itself.

References:
    [1] Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2022, arXiv:2112.10752
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypedDict, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from artifex.core.config import ModelConfig
from artifex.core.data.source import ArraySource, Source
from artifex.core.data.spec import DataSpec
from artifex.core.leaves import assign, flatten, merge
from artifex.core.model import GenerativeModel
from artifex.core.prob import gaussian
from artifex.core.prob.gaussian import Gaussian
from artifex.core.prob.noise import RowRngs, stream_key
from artifex.core.protocols import Autoencoder, Batch, ChecksData, Losses
from artifex.core.registry import create_model
from artifex.core.training.objective import Objective, StepContext, TrainingSpec, training_spec
from artifex.diffusion.autoencoder_kl import AutoencoderKLConfig
from artifex.diffusion.dit import DiTConfig

Data = Float[Array, "batch *event"]
Code = Float[Array, "batch *code"]


@dataclass(frozen=True, kw_only=True)
class LatentDiffusionConfig(ModelConfig):
    """A diffusion model on codes; as it stands, DiT-S/4 on 256 × 256 pictures."""

    autoencoder: ModelConfig = field(default_factory=AutoencoderKLConfig)  # of any model with encode and decode
    diffusion: ModelConfig = field(default_factory=DiTConfig)  # of any model of data like the codes

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """An autoencoder of the data, and a transformer of its codes."""
        autoencoder = AutoencoderKLConfig.for_data(spec, n)
        codes = dataclasses.replace(spec, shape=autoencoder.coder.latent_shape, low=None, high=None, levels=None)
        return cls(autoencoder=autoencoder, diffusion=DiTConfig.for_data(codes, n))


class LatentOutputs(TypedDict):
    """The forward pass."""

    z: Code
    outputs: Any  # of the diffusion model


class CodeScale(nnx.Variable):
    """s, or 0 before it is measured."""


@runtime_checkable
class HasPosterior(Protocol):
    """An autoencoder whose code is drawn."""

    def posterior(self, x: Data) -> Gaussian:
        """q(z|x)."""
        ...


class LatentDiffusion(GenerativeModel):
    """A diffusion model on the codes of an autoencoder."""

    def __init__(self, config: LatentDiffusionConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.autoencoder: Any = create_model(config.autoencoder, rngs=rngs)
        check_autoencoder(self.autoencoder)
        self.diffusion: Any = create_model(config.diffusion, rngs=rngs)
        self.scale = CodeScale(jnp.zeros(()))
        setattr(self, "conditions", self.diffusion.conditions)  # noqa: B010 - a class attribute for others

    def __call__(self, x: Data, *, rngs: nnx.Rngs | None = None, **conditions: Array) -> LatentOutputs:
        """The code of x and what the diffusion model says about it."""
        rngs = self.rngs_or_own(rngs)
        z = self.to_code(x, rngs=rngs)
        return LatentOutputs(z=z, outputs=self.diffusion(z, rngs=rngs, **conditions))

    def loss_fn(self, batch: Batch, outputs: LatentOutputs) -> Losses:
        """The diffusion model's loss (eq. 2)."""
        return self.diffusion.loss_fn({**batch, "x": outputs["z"]}, outputs["outputs"])

    def generate(self, n_samples: int = 1, *, rngs: nnx.Rngs | None = None, **options: Any) -> Data:
        """Samples (eq. 3); `options` are those of the diffusion model's `generate`."""
        return self.to_data(self.diffusion.generate(n_samples, rngs=self.rngs_or_own(rngs), **options))

    def to_code(self, x: Data, *, rngs: nnx.Rngs) -> Code:
        """z (eq. 1)."""
        return self.factor() * draw_code(self.autoencoder, x, rngs)

    def to_data(self, z: Code) -> Data:
        """decode(z / s) (eq. 3)."""
        return self.autoencoder.decode(z / self.factor())

    def factor(self) -> Float[Array, ""]:
        """s, or 1 before it is measured."""
        return jnp.where(self.scale[...] == 0, 1.0, self.scale[...])

    def adopt(self, autoencoder: GenerativeModel) -> None:
        """Take the weights of a trained autoencoder.

        Raises:
            ValueError: its config is not the one that this model was built with.
        """
        if autoencoder.config != self.config.autoencoder:
            raise ValueError(
                f"LatentDiffusion.adopt: expected an autoencoder with the config {self.config.autoencoder}, got "
                f"{autoencoder.config}. Build the model with autoencoder=autoencoder.config."
            )
        assign(self.autoencoder, flatten(autoencoder)[1])

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data that the autoencoder does not take, or codes that the diffusion model does not."""
        encode = self.autoencoder.encode
        if isinstance(self.autoencoder, ChecksData):
            self.autoencoder.check_data(spec)
        code = jax.eval_shape(encode, jax.ShapeDtypeStruct((1, *spec.shape), jnp.float32))
        if isinstance(self.diffusion, ChecksData):
            self.diffusion.check_data(dataclasses.replace(spec, shape=code.shape[1:], low=None, high=None, levels=None))

    def training_spec(self) -> TrainingSpec:
        """The diffusion model's objectives at codes; the autoencoder stays."""
        inner = training_spec(self.diffusion)
        here = nnx.PathContains("diffusion")
        return TrainingSpec(
            objectives=tuple(at_codes(objective) for objective in inner.objectives),
            ema=nnx.All(inner.ema, here),
            frozen=(nnx.All(inner.frozen, here), nnx.All(nnx.Param, nnx.PathContains("autoencoder"))),
        )


def at_codes(inner: Objective) -> Objective:
    """An objective of the diffusion model as one of the whole, measuring s on the first batch."""

    def within(model: LatentDiffusion, batch: Batch, ctx: StepContext) -> Batch:
        return {**batch, "x": model.to_code(batch["x"], rngs=ctx.rngs)}

    def loss(model: Any, batch: Batch, ctx: StepContext) -> Losses:
        return inner.loss(model.diffusion, within(model, batch, ctx), ctx)

    def prepare(model: Any, batch: Batch, ctx: StepContext) -> None:
        keep_scale(model, batch, ctx.rngs)
        if inner.prepare is not None:
            inner.prepare(model.diffusion, within(model, batch, ctx), ctx)

    here = nnx.All(inner.wrt, nnx.PathContains("diffusion"))
    return dataclasses.replace(inner, loss=loss, prepare=prepare, wrt=here)


def keep_scale(model: LatentDiffusion, batch: Batch, rngs: nnx.Rngs) -> None:
    """Measure s where it is not known yet."""
    arrays, key = flatten(model.autoencoder), stream_key(rngs, "noise")

    def measured() -> Float[Array, ""]:
        z = draw_code(merge(*arrays), batch["x"], RowRngs(key)).reshape(len(batch["x"]), -1)
        real = batch["mask"] > 0 if "mask" in batch else jnp.ones(len(z), bool)
        std = jnp.where(real[:, None], z, 0).std(where=jnp.broadcast_to(real[:, None], z.shape))
        return jnp.where(std > 0, 1 / std, jnp.nan).astype(jnp.float32)  # codes that say nothing have no scale

    known = model.scale[...]
    model.scale[...] = jax.lax.cond(known == 0, measured, lambda: known)


def draw_code(autoencoder: Any, x: Data, rngs: nnx.Rngs) -> Code:
    """A draw from q(z|x), or the code where there is only one."""
    if isinstance(autoencoder, HasPosterior):
        return gaussian.sample(autoencoder.posterior(x), rngs)
    return autoencoder.encode(x)


def measure_scale(model: LatentDiffusion, data: Source, *, n: int = 1024, batch_size: int = 64) -> float:
    """Measure s on the first n examples, keep it in the model, and return it.

    Raises:
        ValueError: all codes are equal.
    """
    model.scale[...] = jnp.zeros(())
    first = ArraySource(data.take(np.arange(min(n, len(data)))))
    std = float(np.std(encode_all(model, first, batch_size=batch_size).take(np.arange(len(first)))["x"]))
    if not std > 0:
        raise ValueError(
            f"measure_scale: expected codes that differ, got a deviation of {std}. Train the autoencoder first, and "
            "give it to the model with adopt."
        )
    model.scale[...] = jnp.asarray(1 / std, jnp.float32)
    return 1 / std


def encode_all(model: LatentDiffusion, data: Source, *, batch_size: int = 64, seed: int = 0) -> ArraySource:
    """The data with codes z in the place of x, one draw for each example."""
    layout, arrays = flatten(model)

    @jax.jit
    def encode(arrays: Any, x: Data, first: Array) -> Code:
        whole = merge(layout, arrays)
        whole.eval()
        return whole.to_code(x, rngs=RowRngs(jax.random.key(seed), first))

    parts = []
    for first in range(0, len(data), batch_size):
        rows = np.minimum(np.arange(first, first + batch_size), len(data) - 1)  # the last row fills up a short end
        parts.append(np.asarray(encode(arrays, jnp.asarray(data.take(rows)["x"]), jnp.asarray(first))))
    rest = {name: x for name, x in data.take(np.arange(len(data))).items() if name != "x"}
    return ArraySource({"x": np.concatenate(parts)[: len(data)], **rest})


def check_autoencoder(model: Any) -> None:
    """Refuse a model that cannot encode and decode."""
    if not isinstance(model, Autoencoder):
        raise ValueError(
            f"LatentDiffusionConfig: expected 'autoencoder' with encode and decode, got {type(model).__name__}. "
            "Take one that 'artifex list-models' shows as autoencoder."
        )
