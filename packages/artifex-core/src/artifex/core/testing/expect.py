"""How a check fails: with a message."""

from __future__ import annotations

from typing import Any

import numpy as np


def expect(condition: Any, message: str) -> None:
    """Fail with a message."""
    if not condition:
        raise AssertionError(message)


def close(a: Any, b: Any, tolerance: float, message: str) -> None:
    """Fail where two arrays differ by more than a tolerance, relative to their size."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    scale = max(1.0, float(np.abs(b).max(initial=0)))
    expect(a.shape == b.shape and np.abs(a - b).max(initial=0) <= tolerance * scale, f"{message}: {a} and {b}")
