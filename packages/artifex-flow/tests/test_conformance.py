"""Every model of the family keeps the contract."""

from __future__ import annotations

from artifex.core.testing.plugin import parametrize_models

DEPTHS = {
    "maf": "cheap",
    "neural_spline": "brief",
    "glow": "brief",
    "cnf": "brief",
    "iaf": "brief",
    "realnvp": "brief",
    "realnvp_image": "brief",
    "conditional_flow": "brief",
    "circular_nsf": "brief",
}


@parametrize_models(DEPTHS)
def test_conformance(conformance):
    conformance()
