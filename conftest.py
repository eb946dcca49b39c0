"""Every test runs on the CPU with eight devices, and every shape annotation is checked while it runs."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folder `tests`, whose files start processes of their own: none is to be waited for at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a file on one worker, and all tests of a model: what they compile is then compiled once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            model = re.search(r"\[([a-z0-9_]+)(-\w+)?\]$", test)
            if model and (file.startswith("tests/models/") or file.endswith("/test_conformance.py")):
                return model[1]
            return nodeid if file.startswith("tests/docs/") else file

    return ByFile(config, log)
