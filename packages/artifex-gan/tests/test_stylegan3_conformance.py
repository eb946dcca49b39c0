"""StyleGAN3 keeps the contract; R, which shares all of its code with T, runs its heavy checks among the slow ones."""

from __future__ import annotations

import pytest

from artifex.core.testing.plugin import parametrize_model

HEAVY = ("sharded", "resume", "bfloat16", "loss", "config")


def _cases() -> list[pytest.param]:
    cases = [case for name in ("stylegan3_t", "stylegan3_r") for case in parametrize_model(name).args[1]]
    slow = {case.id: [pytest.mark.slow] if _is_slow(case.id) else [] for case in cases}
    return [pytest.param(*case.values, id=case.id, marks=[*case.marks, *slow[case.id]]) for case in cases]


def _is_slow(case: str) -> bool:
    name, _, check = case.rpartition("-")
    return name == "stylegan3_r" and check in HEAVY


@pytest.mark.parametrize("conformance", _cases())
def test_conformance(conformance):
    conformance()
