"""Diffusion models.

| model | year | paper |
|-------|------|-------|
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME: dict[str, str] = {}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'artifex.diffusion' has no attribute {name!r}")
    return getattr(importlib.import_module(f"artifex.diffusion.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_MODULE)
