"""Every model of the family keeps the contract."""

from __future__ import annotations

import pytest

from artifex.core.testing.plugin import parametrize_model

NAMES = ("ncsn", "ddpm", "ddim", "score_sde", "guided_diffusion", "edm", "flow_matching")


def _cases() -> list[pytest.param]:
    return [case for name in NAMES for case in parametrize_model(name).args[1]]


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
