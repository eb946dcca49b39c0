"""Every model of the family keeps the contract."""

from __future__ import annotations

import pytest

from artifex.core.testing.plugin import parametrize_model

NAMES = (
    "wgan_gp", "dcgan", "r3gan", "cyclegan", "projection_gan", "cgan", "lsgan", "wgan", "pix2pix", "patchgan",
)  # fmt: skip
# One trainer trains them all: wgan_gp runs the heavy checks among the fast tests, the others among the slow ones.
FAST = ("wgan_gp",)
HEAVY = ("sharded", "resume", "bfloat16", "loss", "save")


def _cases() -> list[pytest.param]:
    return [case for name in NAMES for case in parametrize_model(name, slow=() if name in FAST else HEAVY).args[1]]


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
