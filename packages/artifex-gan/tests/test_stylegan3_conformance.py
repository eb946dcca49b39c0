"""StyleGAN3 keeps the contract; its heavy checks take minutes of compiling."""

from __future__ import annotations

import pytest

from artifex.core.testing import kit
from artifex.core.testing.plugin import parametrize_model

NAMES = ("stylegan3_t", "stylegan3_r")
QUICK = {"stylegan3_t": ("record", "config", "build"), "stylegan3_r": ("record", "build")}


def _cases() -> list[pytest.param]:
    return [
        case
        for name in NAMES
        for case in parametrize_model(name, slow=set(kit.checks_of(name)) - set(QUICK[name])).args[1]
    ]


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
