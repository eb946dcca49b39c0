"""Every model of the family keeps the contract."""

from __future__ import annotations

import pytest

from artifex.core.testing.plugin import parametrize_model

NAMES = ("ddpm", "score_sde", "guided_diffusion", "edm", "flow_matching", "dit")
ALIKE = ("ncsn", "ddim")  # trained as ddpm is, which runs every check
# Networks of convolutions take a minute or two of compiling each; beside these checks their own test files are the
# fast siblings.
HEAVY = ("latent_diffusion", "autoencoder_kl", "stable_diffusion")
QUICK = ("record", "build", "mask")


def _cases() -> list[pytest.param]:
    cases = [case for name in NAMES for case in parametrize_model(name).args[1]]
    for case in (case for name in (*ALIKE, *HEAVY) for case in parametrize_model(name).args[1]):
        quick = str(case.id).endswith(QUICK)
        cases.append(case if quick else pytest.param(*case.values, id=case.id, marks=(*case.marks, pytest.mark.slow)))
    return cases


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
