"""Every model of the family keeps the contract."""

from __future__ import annotations

import pytest

from artifex.core.testing.plugin import parametrize_model

NAMES = ("maf", "neural_spline", "glow", "cnf", "iaf", "realnvp", "realnvp_image", "conditional_flow", "circular_nsf")
# These are made of the maps of the others, which run the heavy checks among the fast tests.
ALIKE = ("iaf", "realnvp", "realnvp_image", "conditional_flow", "circular_nsf")
HEAVY = ("sharded", "resume", "bfloat16")


def _cases() -> list[pytest.param]:
    return [case for name in NAMES for case in parametrize_model(name, slow=HEAVY if name in ALIKE else ()).args[1]]


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
