"""Every model of the family keeps the contract."""

from __future__ import annotations

import pytest

from artifex.core.testing.plugin import parametrize_model

NAMES = ("dcgan", "wgan_gp", "r3gan", "cyclegan", "projection_gan", "cgan", "lsgan", "wgan", "pix2pix", "patchgan")
# These have the state and the networks of the others, which run the heavy checks among the fast tests.
ALIKE = ("projection_gan", "cgan", "lsgan", "wgan", "pix2pix", "patchgan")
HEAVY = ("sharded", "resume", "bfloat16")


def _cases() -> list[pytest.param]:
    return [case for name in NAMES for case in parametrize_model(name, slow=HEAVY if name in ALIKE else ()).args[1]]


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
