"""The registry of models: names to records, records to classes.

    plugins     ModelRecords of installed distributions, found by their entry points
    in process  classes decorated with @register_model("name")
A name that two distributions claim belongs to neither: `dist:name` chooses.
"""

from __future__ import annotations

import importlib
import importlib.util
import typing
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from artifex.core.errors import ConfigError, MissingDependency, PluginConflict, did_you_mean
from artifex.core.plugins.loader import records
from artifex.core.plugins.records import ModelRecord

Class = TypeVar("Class", bound=type)

# What to install for a name of our own whose distribution is missing. A test keeps it equal to the packages.
FIRST_PARTY = {
    "artifex-vae": (
        "vae", "beta_vae", "conditional_vae", "hierarchical_vae", "iwae", "beta_tc_vae", "vq_vae",
    ),
}  # fmt: skip


class Registered(NamedTuple):
    """A model and where it comes from."""

    record: ModelRecord
    distribution: str
    version: str
    conflict: bool = False  # another distribution claims the name too

    @property
    def name(self) -> str:
        """The model's name."""
        return self.record.name


class ModelRegistry:
    """Names of models, from plugins and from this process."""

    def __init__(self) -> None:
        self.in_process: dict[str, Registered] = {}

    def register(self, record: ModelRecord) -> None:
        """Add a model of this process; adding the same one again changes nothing.

        Raises:
            PluginConflict: the name is taken by another class.
        """
        taken = next((model for model in self.models() if model.name == record.name), None)
        if taken is not None and taken.record.model != record.model:
            raise PluginConflict(
                f"register_model: expected a free name, got {record.name!r} for {record.model}, which "
                f"{taken.record.model} of {taken.distribution} has. Choose another name."
            )
        if taken is None:
            self.in_process[record.name] = Registered(record, "in process", "")

    def models(self) -> tuple[Registered, ...]:
        """Every model, by name; a name that two distributions claim appears twice."""
        found = [Registered(record, plugin.distribution, plugin.version) for plugin, record in records("models")]
        found += self.in_process.values()
        names = [model.name for model in found]
        marked = (model._replace(conflict=names.count(model.name) > 1) for model in found)
        return tuple(sorted(marked, key=lambda model: (model.name, model.distribution)))

    def get(self, name: str) -> Registered:
        """The model called `name` or `dist:name`.

        Raises:
            PluginConflict: two distributions claim the name.
            MissingDependency: it is one of ours, and its distribution is not installed.
            LookupError: nobody claims it.
        """
        distribution, _, bare = name.rpartition(":")
        models = self.models()
        found = [m for m in models if m.name == bare and distribution in ("", m.distribution)]
        if len(found) == 1:
            return found[0]
        if found:
            owners = [model.distribution for model in found]
            raise PluginConflict(
                f"create_model: expected one distribution with a model {name!r}, got {' and '.join(owners)}. "
                f"Write {owners[0]}:{bare} or {owners[1]}:{bare}."
            )
        for package, names in FIRST_PARTY.items():
            if bare in names:
                raise MissingDependency(
                    f"create_model: expected the package of {bare!r}, got none installed. Run: pip install {package}"
                )
        raise LookupError(
            f"create_model: expected the name of an installed model, got {name!r}."
            f"{did_you_mean(name, [m.name for m in models])} Run 'artifex list-models' for the list."
        )


registry = ModelRegistry()


def register_model(name: str, **about: Any) -> Callable[[Class], Class]:
    """Register the decorated model class of this process under `name`.

    Args:
        about: `config` (its config class) and any field of `ModelRecord`, such as `example`, `paper` or `capabilities`.
    """
    config = about.pop("config", None)

    def decorate(cls: Class) -> Class:
        kind = config or _config_of(cls)
        defaults: dict[str, Any] = {
            "family": "in process",
            "summary": (cls.__doc__ or name).strip().splitlines()[0],
            "paper": "",
            "year": 0,
            "example": "",
        }
        record = ModelRecord(name=name, model=import_string(cls), config=import_string(kind), **{**defaults, **about})
        registry.register(record)
        _local[record.model], _local[record.config] = cls, kind
        return cls

    return decorate


def list_models() -> tuple[Registered, ...]:
    """Every model that is installed or registered, by name."""
    return registry.models()


def model_record(name: str) -> ModelRecord:
    """The record of the model called `name` or `dist:name`; errors as `ModelRegistry.get`."""
    return registry.get(name).record


def record_of(thing: Any) -> ModelRecord | None:
    """The record of a model's or a config's class; None for a class that is not registered."""
    name = import_string(thing.__class__)
    for model in registry.models():
        if name in (model.record.model, model.record.config):
            return model.record
    return None


def create_model(name_or_config: Any, *, rngs: Any, **fields: Any) -> Any:
    """A new model, by name and fields of its config, or by its config.

    Raises:
        LookupError: no such model is installed, or its config is nobody's.
        ConfigError: with a line for each field that does not fit.
        MissingDependency: a package that the model needs is not installed.
    """
    if isinstance(name_or_config, str):
        record = model_record(name_or_config)
        require(record)
        config = load_target(record.config).from_dict(fields)
    else:
        config = name_or_config.replace(**fields) if fields else name_or_config
        record = record_of(config)
        if record is None:
            raise LookupError(
                f"create_model: expected a name or the config of a registered model, got {type(config).__name__}. "
                "Register its model with @register_model, or call the model class itself."
            )
        require(record)
    return load_target(record.model)(config, rngs=rngs)


def require(record: ModelRecord) -> None:
    """Refuse a model whose optional packages are missing."""
    missing = [name for name in record.requirements if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependency(
            f"create_model: expected the packages that {record.name!r} needs, got none called {', '.join(missing)}. "
            f"Run: pip install {' '.join(missing)}"
        )


_local: dict[str, Any] = {}  # classes of this process, which an import may not find (a notebook's, a function's)


def import_string(cls: type) -> str:
    """`module:Class` of a class."""
    return f"{cls.__module__}:{cls.__qualname__}"


def load_target(target: str) -> Any:
    """The object that `module:name` names.

    Raises:
        ConfigError: there is no such module or name.
    """
    if target in _local:
        return _local[target]
    module, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigError(
            f"{target}: expected something that can be imported, got {error}. Mend the record."
        ) from error


def _config_of(cls: type) -> type:
    """The config class that a model's constructor names."""

    return typing.get_type_hints(cls.__init__)["config"]
