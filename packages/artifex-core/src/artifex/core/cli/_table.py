"""The commands: name, what it does, and where it is. Nothing is imported until a command is called."""

from __future__ import annotations

from artifex.core.plugins.records import CommandRecord

_ROWS = (
    ("list-models", "models that are installed", "listing:list_models"),
    ("list-modalities", "kinds of data", "listing:list_modalities"),
    ("list-metrics", "metrics", "listing:list_metrics"),
    ("list-datasets", "data sets", "listing:list_datasets"),
    ("list-extensions", "model extensions", "listing:list_extensions"),
    ("plugins", "installed plugins and what became of them", "plugins:run"),
    ("show", "a model: paper, config, equations", "show:run"),
    ("doctor", "what this installation has, and what is wrong with it", "doctor:run"),
    ("init", "write a config file for a model and a data set", "init:run"),
    ("config", "check, schema or diff of config files", "config:run"),
    ("train", "train a model from a config file", "train:run"),
    ("resume", "go on with a run", "resume:run"),
    ("generate", "draw samples from a run or a saved model", "generate:run"),
    ("evaluate", "evaluate a run on held-out data, and write a report", "evaluate:run"),
    ("compare", "compare two runs", "compare:run"),
    ("new-plugin", "write a package with a working model of your own", "new_plugin:run"),
    ("conformance", "check that a model keeps the contract", "conformance:run"),
    ("completion", "shell completion", "completion:run"),
)
COMMANDS = tuple(CommandRecord(name, f"artifex.core.cli.{target}", summary) for name, summary, target in _ROWS)
