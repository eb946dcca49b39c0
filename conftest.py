"""Every test runs on the CPU with eight devices, and every shape annotation is checked while it runs."""

from __future__ import annotations

import gc
import importlib.util
import os
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

import pytest
from jaxtyping import install_import_hook

import artifex.core.testing.annotations  # noqa: F401  jaxtyping looks the checker up by name

# Tracing allocates much that stays, and jax does work of its own at each collection: a fifth of a run's CPU time.
gc.set_threshold(200_000, 20, 100)

install_import_hook("artifex", "artifex.core.testing.annotations.check_arrays")

pytest_plugins = ["artifex.core.testing.plugin"] if importlib.util.find_spec("artifex.core.testing.plugin") else []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Keep the tests of a file on one worker: what they have compiled or trained is then made once."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
