"""Guided diffusion: samples that a class describes better than chance would.

    by labels [2]     D = D_∅ + w (D_y − D_∅), one network trained with a tenth of the labels left out           (1)
    by a classifier [1]   score + s ∇ log p(y|x_t), a classifier of noisy data beside a network without labels   (2)
    L = E ‖ε − ε_θ(x_t, y)‖²,   and for (2) + E −log p(y|x_t)                                                    (3)
Larger scales give likelier samples and fewer kinds of them. The two terms of (3) share no parameter.

References:
    [1] Dhariwal & Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, arXiv:2105.05233
    [2] Ho & Salimans, Classifier-Free Diffusion Guidance, 2022, arXiv:2207.12598
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self, TypedDict

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.protocols import Batch
from artifex.core.training.rows import masked_mean
from artifex.diffusion.grid import AnyGrid, Trailing
from artifex.diffusion.guidance import classifier_guidance, labelled_cfg
from artifex.diffusion.networks import AnyNetwork, DenoisingConfig, make_network, network_for, range_of, with_dropout
from artifex.diffusion.perceptron import PerceptronConfig, Trunk, linear
from artifex.diffusion.prediction import Data, Denoise, Denoiser, Prediction, Time, check_prediction, wide
from artifex.diffusion.sampling import (
    AnySolver,
    DataRange,
    check_data,
    check_labels,
    draw,
    drop_labels,
    inward,
    labels,
    outward,
    solver_named,
)
from artifex.diffusion.schedule import Discrete
from artifex.diffusion.solver import DDIMSolver, Solver
from artifex.diffusion.unet import UNetConfig
from artifex.diffusion.weighting import AnyWeight, DenoisingOutputs, PlainWeight, UniformTimes, corrupt, weighted_loss

Labels = Int[Array, " batch"]
Logits = Float[Array, "batch class"]


@dataclass(frozen=True, kw_only=True)
class GuidedDiffusionConfig(DenoisingConfig):
    """Diffusion guided towards a class."""

    network: AnyNetwork = field(default_factory=lambda: UNetConfig(n_classes=10))
    guide: Literal["labels", "classifier"] = "labels"
    classifier: PerceptronConfig | None = None  # of noisy data, for guide `classifier`
    schedule: Discrete = field(default_factory=Discrete)
    prediction: Prediction = "eps"
    weight: AnyWeight = field(default_factory=PlainWeight)
    label_dropout: float = 0.1  # share of training rows that go without their label
    scale: float = 1.5  # w or s
    interval: tuple[float, float] = (0.0, 1.0)  # of t, within which labels guide
    rescale: float = 0.0  # share of the way back to the deviation of the estimate without guidance
    data_range: DataRange = (-1.0, 1.0)  # of the data; None leaves them as they are
    solver: AnySolver = field(default_factory=DDIMSolver)
    grid: AnyGrid = field(default_factory=Trailing)
    steps: int = 50  # of sampling

    def __post_init__(self) -> None:
        super().__post_init__()
        check_prediction("GuidedDiffusionConfig", self.prediction, self.schedule)
        check_labels("GuidedDiffusionConfig", self.network, self.label_dropout, self.data_range)
        by_labels = self.guide == "labels"
        wrong = by_labels and (self.network.n_classes is None or self.label_dropout == 0)
        if wrong or by_labels != (self.classifier is None):
            raise ValueError(
                "GuidedDiffusionConfig: expected for guide 'labels' a network with classes, 'label_dropout' > 0 and no "
                f"classifier, and for 'classifier' one of these, got guide {self.guide!r} with n_classes = "
                f"{self.network.n_classes}, label_dropout = {self.label_dropout} and classifier = {self.classifier}."
            )
        if self.classifier is not None and (self.classifier.n_classes is None or self.network.n_classes is not None):
            raise ValueError(
                "GuidedDiffusionConfig: expected 'classifier' with n_classes and a network without, got "
                f"{self.classifier.n_classes} and {self.network.n_classes}. The classifier alone looks at labels."
            )

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape, range and classes of the data, and a network that suits them."""
        network = network_for(spec, n_classes=spec.n_classes or 10)
        return cls(network=network, data_range=range_of(spec))


class GuidedOutputs(DenoisingOutputs, total=False):
    """The forward pass, with the classifier's opinion where there is one."""

    y: Labels
    logits: Logits


class GuidedLosses(TypedDict):
    """Both terms of eq. 3; `cross_entropy` is in nats, 0 where labels guide."""

    loss: Float[Array, ""]
    error: Float[Array, ""]
    cross_entropy: Float[Array, ""]
    weight: Float[Array, ""]


class NoisyClassifier(nnx.Module):
    """p(y|x_t) from a perceptron's features."""

    def __init__(self, config: PerceptronConfig, *, rngs: nnx.Rngs) -> None:
        self.trunk = Trunk(config.replace(n_classes=None), rngs=rngs)
        self.head = linear(config.width, config.n_classes or 0, rngs=rngs)

    def __call__(self, xt: Data, c: Float[Array, " batch"]) -> Logits:
        """Logits of the classes."""
        return self.head(self.trunk(xt, c))


class GuidedDiffusion(GenerativeModel):
    """Diffusion guided towards a class."""

    conditions: ClassVar[tuple[str, ...]] = ("y",)

    def __init__(self, config: GuidedDiffusionConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.network = make_network(config.network, rngs=rngs)
        if config.classifier is not None:
            self.classifier = NoisyClassifier(config.classifier, rngs=rngs)
        self.deterministic = False  # nnx's switch: True drops nothing

    def denoiser(self, dropout: nnx.Rngs | None = None) -> Denoiser:
        """x₀ from x_t."""
        return Denoiser(with_dropout(self.network, dropout), self.config.schedule, self.config.prediction)

    def __call__(self, x: Data, *, y: Labels, rngs: nnx.Rngs | None = None) -> GuidedOutputs:
        """Noisy data, the network's prediction, and the classifier's logits where there is one."""
        rngs, config = self.rngs_or_own(rngs), self.config
        x0, dropout = inward(x, config.data_range), None if self.deterministic else rngs
        given = labels(config, y, len(x)) if config.guide == "labels" else None
        given = given if self.deterministic else drop_labels(config, given, rngs)
        outputs = GuidedOutputs(**corrupt(self.denoiser(dropout), x0, UniformTimes(), rngs, given))
        if config.guide == "classifier":
            outputs["y"], outputs["logits"] = y, self.logits(outputs["xt"], outputs["t"])
        return outputs

    def loss_fn(self, batch: Batch, outputs: GuidedOutputs) -> GuidedLosses:
        """The error of the prediction, and the classifier's cross-entropy (eq. 3)."""
        losses = weighted_loss(self.denoiser(), outputs, self.config.weight, batch)
        entropy = jnp.zeros_like(losses["loss"])
        if "logits" in outputs and "y" in outputs:
            entropy, _ = masked_mean(-log_likelihood(outputs["logits"], outputs["y"]), batch)
        return GuidedLosses(
            loss=losses["loss"] + entropy, error=losses["error"], cross_entropy=entropy, weight=losses["weight"]
        )

    def generate(
        self,
        n_samples: int = 1,
        *,
        y: Labels | int | None = None,
        guidance: float | Float[Array, ""] | None = None,
        solver: Solver | str | None = None,
        steps: int | None = None,
        xt: Data | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Data:
        """Samples guided towards y by the config's scale, or by `guidance`; without y, of any class and unguided."""
        rngs, config = self.rngs_or_own(rngs), self.config
        grid = config.grid(config.schedule, config.steps if steps is None else steps)
        denoise = self.guided_denoiser(y, config.scale if guidance is None else guidance, n_samples)
        shape = (n_samples, *config.network.shape)
        x = draw(denoise, grid, solver_named(solver, config.solver), shape, xt=xt, rngs=rngs)
        return outward(x, config.data_range)

    def guided_denoiser(self, y: Labels | int | None, scale: float | Float[Array, ""], n: int) -> Denoise:
        """x₀ guided towards y (eq. 1, 2)."""
        config, denoiser = self.config, self.denoiser()
        if config.guide == "labels":
            given = labels(config, y, n)
            if y is None or given is None:
                return lambda xt, t: denoiser(xt, t, given)
            null = jnp.full_like(given, config.network.n_classes)
            return labelled_cfg(denoiser, (given, null), scale, interval=config.interval, rescale=config.rescale)
        if y is None:
            return denoiser
        wanted = jnp.broadcast_to(jnp.asarray(y), (n,))

        def log_prob(xt: Data, t: Time) -> Float[Array, " batch"]:
            return log_likelihood(self.logits(xt, t), wanted)

        return classifier_guidance(denoiser, log_prob, scale, config.schedule)  # eq. 2

    def logits(self, xt: Data, t: Time) -> Logits:
        """The classifier's opinion of noisy data."""
        t = jnp.broadcast_to(wide(t, xt), xt.shape[:1])
        return self.classifier(xt, self.config.schedule.condition(t))

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, range or number of classes."""
        check_data(self.config, spec)


def log_likelihood(logits: Logits, y: Labels) -> Float[Array, " batch"]:
    """log p(y|x_t) in nats, one value per row."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=-1)[:, 0]
