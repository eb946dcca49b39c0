from artifex.core.config import BaseConfig as BaseConfig
from artifex.core.config import Config as Config
from artifex.core.config import ModelConfig as ModelConfig
from artifex.core.data.load import load_dataset as load_dataset
from artifex.core.evaluation.pipeline import EvaluationPipeline as EvaluationPipeline
from artifex.core.evaluation.registry import MetricsRegistry as MetricsRegistry
from artifex.core.extensions import ExtendedModel as ExtendedModel
from artifex.core.extensions import ModelExtension as ModelExtension
from artifex.core.mesh import ShardingConfig as ShardingConfig
from artifex.core.mesh import create_mesh as create_mesh
from artifex.core.model import GenerativeModel as GenerativeModel
from artifex.core.plugins.records import API_VERSION as API_VERSION
from artifex.core.protocols import GenerativeModelProtocol as GenerativeModelProtocol
from artifex.core.protocols import Modality as Modality
from artifex.core.protocols import ModelAdapter as ModelAdapter
from artifex.core.registry import ModelRegistry as ModelRegistry
from artifex.core.registry import create_model as create_model
from artifex.core.registry import list_models as list_models
from artifex.core.registry import register_model as register_model
from artifex.core.saving import load_model as load_model
from artifex.core.training.config import OptimizerConfig as OptimizerConfig
from artifex.core.training.config import TrainerConfig as TrainerConfig
from artifex.core.training.objective import Objective as Objective
from artifex.core.training.objective import StepContext as StepContext
from artifex.core.training.objective import TrainingSpec as TrainingSpec
from artifex.core.training.trainer import Trainer as Trainer

__version__: str
