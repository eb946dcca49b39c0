"""Every registered model, with the tiny example of its record."""

from __future__ import annotations

import pytest

from artifex.core.registry import list_models

NAMES = sorted(model.record.name for model in list_models() if model.distribution.startswith("artifex-"))
LARGE = ("glow", "stable_diffusion")  # whose default takes half a minute to trace


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        cases = [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in NAMES]
        metafunc.parametrize("name", cases)
