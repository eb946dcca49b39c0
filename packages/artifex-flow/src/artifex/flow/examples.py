"""A tiny config and a batch for each model: what the conformance kit runs."""

from __future__ import annotations

import numpy as np

from artifex.core.config import ModelConfig

Example = tuple[ModelConfig, dict[str, np.ndarray]]
