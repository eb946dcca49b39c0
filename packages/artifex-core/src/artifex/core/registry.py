"""The registry of models: names to records, records to classes.

    plugins     ModelRecords of installed distributions, found by their entry points
    in process  classes decorated with @register_model("name")
A name that two distributions claim belongs to neither: `dist:name` chooses.
"""

from __future__ import annotations

import importlib
import importlib.util
import operator
import typing
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from artifex.core.errors import ConfigError, MissingDependency, PluginConflict, did_you_mean
from artifex.core.plugins.check import NAME
from artifex.core.plugins.loader import installed_plugins, records
from artifex.core.plugins.records import ModelRecord

Class = TypeVar("Class", bound=type)

# What to install for a name of our own whose distribution is missing. A test keeps it equal to the packages.
FIRST_PARTY = {
    "artifex-diffusion": (
        "ncsn", "ddpm", "ddim", "score_sde", "guided_diffusion", "stable_diffusion",
        "autoencoder_kl", "latent_diffusion", "edm", "flow_matching", "dit",
    ),
    "artifex-flow": (
        "iaf", "realnvp", "realnvp_image", "maf", "cnf", "glow", "neural_spline", "conditional_flow", "circular_nsf",
    ),
    "artifex-gan": (
        "cgan", "dcgan", "lsgan", "wgan", "wgan_gp", "pix2pix", "cyclegan", "patchgan", "projection_gan",
        "stylegan3_t", "stylegan3_r", "r3gan",
    ),
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
            ValueError: it is no name.
        """
        if not NAME.fullmatch(record.name):
            raise ValueError(
                f"register_model: expected a name of [a-z][a-z0-9_]*, got {record.name!r}. Rename the model."
            )
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
        claims = Counter(model.name for model in found)
        marked = (model._replace(conflict=claims[model.name] > 1) for model in found)
        return tuple(sorted(marked, key=lambda model: (model.name, model.distribution)))

    def get(self, name: str) -> Registered:
        """The model called `name` or `dist:name`.

        Raises:
            PluginConflict: two distributions claim the name.
            MissingDependency: it is one of ours, and its distribution is missing or left out.
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
                f"Write {' or '.join(f'{owner}:{bare}' for owner in owners)}."
            )
        owner = next((package for package, names in FIRST_PARTY.items() if bare in names), None)
        if owner is not None and distribution in ("", owner):
            raise _missing(owner, bare)
        known = [*(m.name for m in models), *(f"{m.distribution}:{m.name}" for m in models if distribution)]
        raise LookupError(
            f"create_model: expected the name of an installed model, got {name!r}.{did_you_mean(name, known)} "
            "Run 'artifex list-models' for the list."
        )


def _missing(package: str, name: str) -> MissingDependency:
    """Why a model of ours is not there: its package is not installed, or its plugin is left out."""
    left_out = next((plugin for plugin in installed_plugins() if plugin.distribution == package), None)
    if left_out is None:
        return MissingDependency(
            f"create_model: expected the package of {name!r}, got none installed. Run: pip install {package}"
        )
    return MissingDependency(
        f"create_model: expected the plugin of {package} for {name!r}, got one that is {left_out.status}: "
        f"{left_out.problem or 'it brings no such model'} See 'artifex doctor'."
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
    """The record of a model's or a config's class; None for a class that is not registered.

    Raises:
        PluginConflict: two models share the config class.
    """
    name = import_string(thing.__class__)
    found = [model.record for model in registry.models() if name in (model.record.model, model.record.config)]
    classes = sorted({record.model for record in found})
    if len(classes) > 1:
        raise PluginConflict(
            f"{name}: expected the config of one model, got {' and '.join(classes)}. Give each a config class."
        )
    return found[0] if found else None


def create_model(name_or_config: Any, *, rngs: Any, **fields: Any) -> Any:
    """A new model, by name and fields of its config, or by its config.

    Raises:
        LookupError: no such model is installed, or its config is nobody's.
        ConfigError: with a line for each field that does not fit.
        MissingDependency: a package that the model needs is not installed.
    """
    record = model_record(name_or_config) if isinstance(name_or_config, str) else record_of(name_or_config)
    if record is None:
        raise LookupError(
            f"create_model: expected a name or the config of a registered model, got {name_or_config!r:.80}. "
            "Register its model with @register_model, or call the model class itself."
        )
    require(record)
    if isinstance(name_or_config, str):
        config = load_target(record.config).from_dict(fields)
    else:
        config = name_or_config.replace(**fields) if fields else name_or_config
    return load_target(record.model)(config, rngs=rngs)


def require(record: ModelRecord) -> None:
    """Refuse a model whose optional packages are missing."""
    missing = [name for name in record.requirements if importlib.util.find_spec(name.partition(".")[0]) is None]
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
        MissingDependency: the module imports a package that is not installed.
    """
    if target in _local:
        return _local[target]
    module, _, name = target.partition(":")
    try:
        home = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(f"{target}: expected a module, got none of that name. Mend the record.") from error
        raise MissingDependency(
            f"{target}: expected the package {error.name!r}, got none installed. Run: pip install {error.name}"
        ) from error
    try:
        return operator.attrgetter(name)(home)
    except AttributeError as error:
        raise ConfigError(f"{target}: expected an object of that module, got none. Mend the record.") from error


def _config_of(cls: type) -> type:
    """The config class that a model's constructor names."""
    kind = typing.get_type_hints(cls.__init__).get("config")
    if kind is None:
        raise TypeError(
            f"register_model: expected a config class for {cls.__name__}, got none. "
            "Annotate the config of its __init__, or write @register_model(name, config=...)."
        )
    return kind
