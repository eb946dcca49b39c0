"""The conformance kit catches models that are wrong: a flipped sign, a dead parameter, a sampler without a seed."""

from __future__ import annotations

import jax.numpy as jnp
import pytest
from flax import nnx

from artifex.core.registry import register_model, registry
from artifex.core.testing import kit
from artifex.core.testing.subject import Subject
from artifex.vae import VAE, VAEConfig


class FlippedSign(VAE):
    """Rewards the encoder for leaving the prior."""

    def loss_fn(self, batch, outputs, *, step=None):
        losses = VAE.loss_fn(self, batch, outputs, step=step)
        return {**losses, "loss": losses["loss"] - 2 * losses["kl"]}


class DeadParameter(VAE):
    """Has a parameter that nothing uses."""

    def __init__(self, config: VAEConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.dead = nnx.Param(jnp.ones(3))


class NoSeed(VAE):
    """Draws the same samples whatever the key."""

    def generate(self, n_samples=1, *, temperature=1.0, mean=False, rngs=None):
        return VAE.generate(self, n_samples, temperature=temperature, mean=mean, rngs=nnx.Rngs(0))


class ByPosition(VAE):
    """Mixes the rows of a batch, so that sample i depends on how many are drawn."""

    def generate(self, n_samples=1, *, temperature=1.0, mean=True, rngs=None):
        z = temperature * self.prior.sample(n_samples, self.rngs_or_own(rngs))
        return self.coder.mean(z - z.mean(0))


@pytest.fixture(autouse=True)
def no_mutant_stays():
    before = dict(registry.in_process)
    yield
    registry.in_process = before


MUTANTS = [
    (FlippedSign, "bound_rises", "the mean score went from"),
    (DeadParameter, "gradients", "dead gets no gradient"),
    (NoSeed, "generate", "different keys give equal samples"),
    (ByPosition, "generate", "change"),
]


@pytest.mark.parametrize(("mutant", "check", "message"), MUTANTS, ids=[cls.__name__ for cls, *_ in MUTANTS])
def test_the_kit_catches(mutant, check, message):
    name = f"mutant_{mutant.__name__.lower()}"
    register_model(name, config=VAEConfig, example="artifex.vae.examples:vae", capabilities=("autoencoder",))(mutant)
    checks = {**kit.MANDATORY, "bound_rises": kit.check_bound_rises}
    with pytest.raises(AssertionError, match=message):
        checks[check](Subject(name))


@pytest.mark.slow
@pytest.mark.parametrize("check", sorted({check for _, check, _ in MUTANTS}))
def test_the_sound_model_passes_the_same_checks(check):
    {**kit.MANDATORY, "bound_rises": kit.check_bound_rises}[check](Subject("vae"))
