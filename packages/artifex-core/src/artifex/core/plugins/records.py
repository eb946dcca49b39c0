"""What a plugin says about itself: lazy records, import strings instead of objects.

A record names its targets as `"package.module:Name"`, so that listing a thousand models imports none of them.
"""

from __future__ import annotations

from typing import NamedTuple

API_VERSION = (1, 0)  # (major, minor): another major is refused, and so is a newer minor than core's


class PluginInfo(NamedTuple):
    """`PLUGIN` of a plugin's `_plugin` module: the contract it was written for."""

    api: tuple[int, int]
    summary: str = ""


class ModelRecord(NamedTuple):
    """One registered model."""

    name: str  # [a-z][a-z0-9_]*
    family: str
    model: str  # "module:Class"
    config: str  # "module:Config"
    summary: str  # one line
    paper: str  # "Kingma & Welling, Auto-Encoding Variational Bayes, arXiv:1312.6114"
    year: int
    example: str  # "module:function" -> (config, batch): tiny, for the conformance kit
    modalities: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()  # likelihood bijective causal energy conditional autoencoder translator
    requirements: tuple[str, ...] = ()  # import names of optional packages it needs


class TargetRecord(NamedTuple):
    """A modality, adapter, metric, data set, extension, callback, benchmark or exporter: a name and where it is."""

    name: str
    target: str  # "module:object"
    summary: str


class ShardingRule(NamedTuple):
    """Parameters whose path matches `pattern` (a regular expression, `/` between parts) take this PartitionSpec."""

    pattern: str
    spec: tuple[str | None, ...]  # mesh axis names: data fsdp tensor, or None


class CommandRecord(NamedTuple):
    """A command of the `artifex` program."""

    name: str
    target: str  # "module:function" taking the rest of argv and returning an exit code
    summary: str
