"""Every model of the family keeps the contract."""

from __future__ import annotations

from artifex.core.testing.plugin import parametrize_models

DEPTHS = {
    "ddpm": "cheap",
    "flow_matching": "brief",
    "edm": "brief",
    "dit": "brief",
    "score_sde": "brief",
    "guided_diffusion": "brief",
    "ncsn": "brief",
    "ddim": "brief",
    "latent_diffusion": "brief",
    "autoencoder_kl": "brief",
    "stable_diffusion": "brief",
}


@parametrize_models(DEPTHS)
def test_conformance(conformance):
    conformance()
