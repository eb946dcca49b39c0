"""Every registered model, with the tiny example of its record."""

from __future__ import annotations

import pytest

from artifex.core.registry import list_models

NAMES = sorted(model.record.name for model in list_models() if model.distribution.startswith("artifex-"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in NAMES])
