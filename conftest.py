"""Every test runs on the CPU with eight devices, and every shape annotation is checked while it runs."""

from __future__ import annotations

import importlib.util
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

import artifex.core.testing.annotations  # noqa: E402, F401  jaxtyping looks the checker up by name
from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("artifex", "artifex.core.testing.annotations.check_arrays")

pytest_plugins = ["artifex.core.testing.plugin"] if importlib.util.find_spec("artifex.core.testing.plugin") else []
