"""Every model of the family keeps the contract."""

from __future__ import annotations

import pytest

from artifex.core.testing import kit
from artifex.core.testing.plugin import parametrize_model

NAMES = (
    "ddpm", "score_sde", "guided_diffusion", "edm", "flow_matching", "dit", "ncsn", "ddim",
    "latent_diffusion", "autoencoder_kl", "stable_diffusion",
)  # fmt: skip
# One trainer trains them all: flow_matching runs the heavy checks among the fast tests, the others among the slow ones.
FAST = ("flow_matching",)
# Networks of convolutions take minutes of compiling; their own test files are the fast siblings.
CONVOLVING = ("latent_diffusion", "autoencoder_kl", "stable_diffusion")
QUICK = ("record", "build")
HEAVY = ("sharded", "resume", "bfloat16", "loss", "save")


def slow_checks(name: str) -> set[str]:
    if name in CONVOLVING:
        return set(kit.checks_of(name)) - set(QUICK)
    return set() if name in FAST else set(HEAVY)


def _cases() -> list[pytest.param]:
    return [case for name in NAMES for case in parametrize_model(name, slow=slow_checks(name)).args[1]]


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
