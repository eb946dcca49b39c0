"""Every test runs on the CPU with eight devices, and every shape annotation is checked while it runs."""

from __future__ import annotations

import importlib.util
import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

from jaxtyping import install_import_hook

import artifex.core.testing.annotations  # noqa: F401  jaxtyping looks the checker up by name

install_import_hook("artifex", "artifex.core.testing.annotations.check_arrays")

pytest_plugins = ["artifex.core.testing.plugin"] if importlib.util.find_spec("artifex.core.testing.plugin") else []
