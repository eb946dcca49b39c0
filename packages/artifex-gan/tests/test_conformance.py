"""Every model of the family keeps the contract."""

from __future__ import annotations

import pytest

from artifex.core.testing.plugin import parametrize_model

NAMES = (
    "cgan",
    "dcgan",
    "lsgan",
    "wgan",
    "wgan_gp",
    "pix2pix",
    "cyclegan",
    "patchgan",
    "projection_gan",
    "r3gan",
    "stylegan3_t",
    "stylegan3_r",
)


def _cases() -> list[pytest.param]:
    return [case for name in NAMES for case in parametrize_model(name).args[1]]


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
