"""Diffusion with transformers: DiT, of classes, with a learned variance.

    ε_θ, v = transformer(x_i, i, y)                     the network of `transformer`                              (1)
    L = E ‖ε − ε_θ‖² + 0.001 L_vlb(v)                   y = "no class" for a share of the rows                    (2)
    ε_θ ← ε_θ(∅) + w (ε_θ(y) − ε_θ(∅))                   while sampling with guidance w                           (3)
Everything but the network is `ddpm` with a learned variance and linear betas, which this model holds and asks. The
paper trains on codes of an autoencoder: name this model as the `diffusion` of `latent_diffusion`. On pictures set
`clip_x0`: an error of ε becomes one of x₀ that is σ/α times as large, 157 at the first step of 1000.

References:
    [1] Peebles & Xie, Scalable Diffusion Models with Transformers, 2023, arXiv:2212.09748
    [2] Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, arXiv:2102.09672 (eq. 2)
    [3] Ho & Salimans, Classifier-Free Diffusion Guidance, 2022, arXiv:2207.12598 (eq. 3)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from flax import nnx
from jaxtyping import Array, Float

from artifex.core.data.spec import DataSpec
from artifex.core.model import GenerativeModel
from artifex.core.protocols import Batch
from artifex.diffusion.blocks import Image, Label
from artifex.diffusion.ddpm import DDPM, DDPMConfig, DDPMOutputs
from artifex.diffusion.networks import DenoisingConfig, range_of
from artifex.diffusion.sampling import DataRange
from artifex.diffusion.schedule import Discrete
from artifex.diffusion.solver import Solver
from artifex.diffusion.transformer import TransformerConfig, sized
from artifex.diffusion.weighting import DenoisingLosses


@dataclass(frozen=True, kw_only=True)
class DiTConfig(DenoisingConfig):
    """A class-conditional diffusion transformer; as it stands, DiT-S/4 for 32 × 32 × 4 codes of 1000 classes."""

    network: TransformerConfig = field(default_factory=lambda: sized("S", 4))
    schedule: Discrete = field(default_factory=Discrete)
    vlb_weight: float = 0.001  # of L_vlb
    label_dropout: float = 0.1  # share of training rows that go without their class
    data_range: DataRange = None  # of the data; None for codes, which have no range
    steps: int = 250  # of sampling
    clip_x0: bool = False  # keep each estimate of x₀ within [−1, 1] while sampling: for pictures, not for codes

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network.n_classes is None or self.network.out_channels is not None:
            raise ValueError(
                "DiTConfig: expected 'network' with n_classes and without out_channels, got "
                f"{self.network.n_classes} and {self.network.out_channels}. The model doubles the channels for the "
                "variance; for pictures without classes take ddpm with this network."
            )
        self.ddpm()

    @classmethod
    def for_data(cls, spec: DataSpec, n: int) -> Self:
        """Shape, range and classes of the data; four blocks of width 128."""
        sides = spec.shape[:2]
        patch = next(p for p in (4, 2, 1) if all(side % p == 0 and side > p for side in sides) or p == 1)
        shaped: dict[str, Any] = {"shape": spec.shape, "patch": patch}
        network = TransformerConfig(**shaped, depth=4, width=128, n_heads=4, n_classes=spec.n_classes or 10)
        return cls(network=network, data_range=range_of(spec), clip_x0=range_of(spec) is not None)

    def ddpm(self) -> DDPMConfig:
        """The same as a DDPM."""
        return DDPMConfig(
            network=self.network.replace(out_channels=2 * self.network.shape[-1]),
            schedule=self.schedule,
            variance="learned",
            vlb_weight=self.vlb_weight,
            label_dropout=self.label_dropout,
            data_range=self.data_range,
            levels=None,
            steps=self.steps,
            clip_x0=self.clip_x0,
            dtype=self.dtype,
        )


class DiT(GenerativeModel):
    """A class-conditional diffusion transformer."""

    conditions: ClassVar[tuple[str, ...]] = ("y",)

    def __init__(self, config: DiTConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.diffusion = DDPM(config.ddpm(), rngs=rngs)

    def __call__(self, x: Image, y: Label, *, rngs: nnx.Rngs | None = None) -> DDPMOutputs:
        """Noisy data at steps drawn uniformly, and what the network says (eq. 1)."""
        return self.diffusion(x, y=y, rngs=self.rngs_or_own(rngs))

    def loss_fn(self, batch: Batch, outputs: DDPMOutputs) -> DenoisingLosses:
        """The error of ε and the share of the bound (eq. 2)."""
        return self.diffusion.loss_fn(batch, outputs)

    def generate(
        self,
        n_samples: int = 1,
        *,
        y: Label | None = None,
        guidance: float | Float[Array, ""] | None = None,
        solver: Solver | str | None = None,
        steps: int | None = None,
        rngs: nnx.Rngs | None = None,
    ) -> Image:
        """Samples of the classes y, or of no class; `guidance` is w (eq. 3)."""
        asked: dict[str, Any] = {"y": y, "guidance": guidance, "solver": solver, "steps": steps}
        return self.diffusion.generate(n_samples, rngs=self.rngs_or_own(rngs), **asked)

    def check_data(self, spec: DataSpec) -> None:
        """Refuse data of another shape, range or number of classes."""
        self.diffusion.check_data(spec)
