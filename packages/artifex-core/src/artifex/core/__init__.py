"""The core of Artifex: protocols, configs, plugins, the trainer, meshes, data and evaluation.

Names are loaded when they are first used, so that importing this package costs no jax; `__init__.pyi` tells type
checkers what they are.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0.dev0"
_HOME = {
    "config": "BaseConfig Config ModelConfig",
    "data.load": "load_dataset",
    "evaluation.pipeline": "EvaluationPipeline",
    "evaluation.registry": "MetricsRegistry",
    "extensions": "ExtendedModel ModelExtension",
    "mesh": "ShardingConfig create_mesh",
    "model": "GenerativeModel",
    "plugins.records": "API_VERSION",
    "protocols": "GenerativeModelProtocol Modality ModelAdapter",
    "registry": "ModelRegistry create_model list_models register_model",
    "saving": "load_model",
    "training.config": "OptimizerConfig TrainerConfig",
    "training.objective": "Objective StepContext TrainingSpec",
    "training.trainer": "Trainer",
}
_MODULE = {name: f"artifex.core.{module}" for module, names in _HOME.items() for name in names.split()}
__all__ = ["__version__", *_MODULE]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'artifex.core' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
