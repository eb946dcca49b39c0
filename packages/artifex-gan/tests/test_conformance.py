"""Every model of the family keeps the contract."""

from __future__ import annotations

import pytest

from artifex.core.testing.plugin import parametrize_model

NAMES = (
    "cgan", "dcgan", "lsgan", "wgan", "wgan_gp", "pix2pix", "cyclegan", "patchgan", "projection_gan", "r3gan",
)  # fmt: skip
# These have the state and the networks of others on the list, whose heavy checks are their fast siblings.
ALIKE = ("cgan", "lsgan", "wgan", "pix2pix", "patchgan")
HEAVY = ("sharded", "resume", "bfloat16")


def _cases() -> list[pytest.param]:
    cases = [case for name in NAMES for case in parametrize_model(name).args[1]]
    slow = {case.id: [pytest.mark.slow] if _is_slow(case.id) else [] for case in cases}
    return [pytest.param(*case.values, id=case.id, marks=[*case.marks, *slow[case.id]]) for case in cases]


def _is_slow(case: str) -> bool:
    name, _, check = case.rpartition("-")
    return name in ALIKE and check in HEAVY


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
