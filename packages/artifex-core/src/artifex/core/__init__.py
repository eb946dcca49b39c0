"""The core of Artifex: protocols, configs, plugins, the trainer, meshes, data and evaluation.

Names are loaded when they are first used, so that importing this package costs no jax.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from artifex.core.plugins.records import API_VERSION

if TYPE_CHECKING:
    from artifex.core.config import BaseConfig, Config, ModelConfig
    from artifex.core.data.load import load_dataset
    from artifex.core.evaluation.pipeline import EvaluationPipeline
    from artifex.core.evaluation.registry import MetricsRegistry
    from artifex.core.extensions import ExtendedModel, ModelExtension
    from artifex.core.mesh import ShardingConfig, create_mesh
    from artifex.core.model import GenerativeModel
    from artifex.core.protocols import GenerativeModelProtocol, Modality, ModelAdapter
    from artifex.core.registry import ModelRegistry, create_model, list_models, register_model
    from artifex.core.saving import load_model
    from artifex.core.training.config import OptimizerConfig, TrainerConfig
    from artifex.core.training.objective import Objective, StepContext, TrainingSpec
    from artifex.core.training.trainer import Trainer

__version__ = "0.1.0.dev0"
_HOME = {
    "config": "BaseConfig Config ModelConfig",
    "data.load": "load_dataset",
    "evaluation.pipeline": "EvaluationPipeline",
    "evaluation.registry": "MetricsRegistry",
    "extensions": "ExtendedModel ModelExtension",
    "mesh": "ShardingConfig create_mesh",
    "model": "GenerativeModel",
    "protocols": "GenerativeModelProtocol Modality ModelAdapter",
    "registry": "ModelRegistry create_model list_models register_model",
    "saving": "load_model",
    "training.config": "OptimizerConfig TrainerConfig",
    "training.objective": "Objective StepContext TrainingSpec",
    "training.trainer": "Trainer",
}
_MODULE = {name: f"artifex.core.{module}" for module, names in _HOME.items() for name in names.split()}
__all__ = [  # pyright: ignore[reportUnsupportedDunderAll]
    "API_VERSION", "BaseConfig", "Config", "EvaluationPipeline", "ExtendedModel", "GenerativeModel",
    "GenerativeModelProtocol", "MetricsRegistry", "Modality", "ModelAdapter", "ModelConfig", "ModelExtension",
    "ModelRegistry", "Objective", "OptimizerConfig", "ShardingConfig", "StepContext", "Trainer", "TrainerConfig",
    "TrainingSpec", "__version__", "create_mesh", "create_model", "list_models", "load_dataset", "load_model",
    "register_model",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'artifex.core' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
