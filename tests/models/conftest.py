"""Every registered model, with the tiny example of its record."""

from __future__ import annotations

import pytest

from artifex.core.registry import list_models

NAMES = sorted(model.record.name for model in list_models() if model.distribution.startswith("artifex-"))
LARGE = ("glow", "stable_diffusion")  # whose default takes half a minute to trace


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", [pytest.param(name, marks=marks(name)) for name in NAMES])


def marks(name: str) -> list[pytest.MarkDecorator]:
    """One worker for all tests of a model."""
    return [pytest.mark.xdist_group(name), *([pytest.mark.slow] if name in LARGE else [])]
