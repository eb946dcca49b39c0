"""Every model of the family keeps the contract."""

from __future__ import annotations

from artifex.core.testing.plugin import parametrize_models

DEPTHS = {
    "lsgan": "whole",
    "wgan_gp": "brief",
    "r3gan": "brief",
    "cyclegan": "brief",
    "cgan": "brief",
    "dcgan": "brief",
    "projection_gan": "brief",
    "wgan": "brief",
    "pix2pix": "brief",
    "patchgan": "brief",
    "stylegan3_t": "brief",
    "stylegan3_r": "brief",
}


@parametrize_models(DEPTHS)
def test_conformance(conformance):
    conformance()
