"""Every model of the family keeps the contract."""

from __future__ import annotations

import pytest

from artifex.core.testing.plugin import parametrize_model

NAMES = (
    "maf", "neural_spline", "glow", "cnf", "iaf", "realnvp", "realnvp_image", "conditional_flow", "circular_nsf",
)  # fmt: skip
# One trainer trains them all: maf runs the heavy checks among the fast tests, the others among the slow ones.
FAST = ("maf",)
HEAVY = ("sharded", "resume", "bfloat16", "loss", "save")


def _cases() -> list[pytest.param]:
    return [case for name in NAMES for case in parametrize_model(name, slow=() if name in FAST else HEAVY).args[1]]


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
