"""Every model of the family keeps the contract."""

from __future__ import annotations

from artifex.core.testing.plugin import parametrize_models

DEPTHS = {
    "vae": "whole",
    "vq_vae": "cheap",
    "hierarchical_vae": "brief",
    "conditional_vae": "brief",
    "iwae": "brief",
    "beta_vae": "brief",
    "beta_tc_vae": "brief",
}


@parametrize_models(DEPTHS)
def test_conformance(conformance):
    conformance()
