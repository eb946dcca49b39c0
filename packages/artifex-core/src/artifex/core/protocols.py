"""The idea: a generative model lowers a loss and draws samples.

Everything that seven families share follows from that line. A model is any object with the three methods of
`GenerativeModelProtocol`; what it can do beyond them is said by the small protocols below, and asked with
`isinstance`. A batch is a mapping: `"x"` is the data, `"y"` the condition, `"mask"` (where rows were padded) is 1
for a row that counts.

References:
    [1] Artifex: A Comprehensive Generative Modeling Framework, section 2.2
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from flax import nnx
from jaxtyping import Array, Float

Batch = Mapping[str, Array]
Losses = Mapping[str, Any]  # of scalars; a TypedDict of the model's own is no Mapping[str, Array] to type checkers


@runtime_checkable
class GenerativeModelProtocol(Protocol):
    """What every generative model does [1]."""

    def __call__(self, x: Array, *, rngs: nnx.Rngs | None = None, **kwargs: Any) -> Mapping[str, Any]:
        """The forward pass, as a TypedDict of the model's own."""
        ...

    def loss_fn(self, batch: Batch, outputs: Mapping[str, Any], **kwargs: Any) -> Losses:
        """`"loss"` (the mean that is lowered), parts worth logging, and perhaps `"weight"`: what the mean is over."""
        ...

    def generate(self, n_samples: int = 1, *, rngs: nnx.Rngs | None = None, **kwargs: Any) -> Array:
        """Samples [n_samples, *event]; traceable, and pure given `rngs`."""
        ...


@runtime_checkable
class Likelihood(Protocol):
    """A model whose log-density or log-mass is known exactly."""

    def log_prob(self, x: Array, **kwargs: Any) -> Float[Array, " batch"]:
        """log p(x) in nats, one value per example."""
        ...


@runtime_checkable
class LevelLikelihood(Protocol):
    """A model of densities that can be asked for the mass of data in levels."""

    def log_mass(self, x: Array, *, rngs: nnx.Rngs, **kwargs: Any) -> Float[Array, " batch"]:
        """log P(x) in nats, or a draw whose mean is a lower bound; log p(x) of data without levels."""
        ...


@runtime_checkable
class Autoencoder(Protocol):
    """A model with a code for each example."""

    def encode(self, x: Array) -> Array:
        """The code of x."""
        ...

    def decode(self, z: Array) -> Array:
        """The data that the code stands for."""
        ...


@runtime_checkable
class Bijective(Protocol):
    """A model that is an invertible map from data to base samples."""

    def forward(self, x: Array, **kwargs: Any) -> tuple[Array, Float[Array, " batch"]]:
        """(z, log |det ∂z/∂x|), nats, one value per example."""
        ...

    def inverse(self, z: Array, **kwargs: Any) -> tuple[Array, Float[Array, " batch"]]:
        """(x, log |det ∂x/∂z|), nats, one value per example."""
        ...


@runtime_checkable
class Translator(Protocol):
    """A model that maps one kind of data to another."""

    def translate(self, x: Array, *, rngs: nnx.Rngs | None = None) -> Array:
        """x in the other domain."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """A model that is trained by objectives of its own; without it there is one: `__call__`, then `loss_fn`."""

    def training_spec(self) -> Any:
        """The `TrainingSpec` of this model."""
        ...


@runtime_checkable
class ChecksData(Protocol):
    """A model that refuses data which it cannot describe, before anything is compiled."""

    def check_data(self, spec: Any) -> None:
        """Raise a ValueError that names what does not fit the `DataSpec`."""
        ...


@runtime_checkable
class ChecksExamples(Protocol):
    """A model that refuses examples whose values it cannot describe, such as numbers outside its support."""

    def check_examples(self, examples: Mapping[str, Any]) -> None:
        """Raise a ValueError that names what does not fit, from some rows of the data."""
        ...


@runtime_checkable
class ModelAdapter(Protocol):
    """What a modality puts around a model so that raw data fit it [1]."""

    def adapt_model(self, model: GenerativeModelProtocol) -> GenerativeModelProtocol:
        """A model that takes and gives this modality's data."""
        ...

    def preprocess(self, data: Any) -> Array:
        """Raw data as the array that the model takes."""
        ...

    def postprocess(self, outputs: Array) -> Any:
        """The model's array as data of this modality."""
        ...


@runtime_checkable
class Modality(Protocol):
    """A kind of data: how it is loaded, adapted, shown and judged [1]."""

    name: str

    def adapter(self, spec: Any) -> ModelAdapter:
        """The adapter for data of this spec."""
        ...

    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that people of this field report."""
        ...

    def render(self, samples: Array) -> bytes:
        """A picture (PNG) of some samples."""
        ...
