"""Every model of the family keeps the contract."""

from __future__ import annotations

import pytest

from artifex.core.testing.plugin import parametrize_model

NAMES = (
    "iaf",
    "realnvp",
    "realnvp_image",
    "maf",
    "cnf",
    "glow",
    "neural_spline",
    "conditional_flow",
    "circular_nsf",
)


def _cases() -> list[pytest.param]:
    return [case for name in NAMES for case in parametrize_model(name).args[1]]


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
