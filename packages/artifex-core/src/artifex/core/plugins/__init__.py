"""Plugins: what a distribution brings, and how it is found. Imports no jax, numpy, yaml or rich."""

from artifex.core.plugins.hookspecs import hookimpl
from artifex.core.plugins.loader import Plugin, block, installed_plugins, records, refresh_plugins
from artifex.core.plugins.records import (
    API_VERSION,
    CommandRecord,
    ModelRecord,
    PluginInfo,
    ShardingRule,
    TargetRecord,
)

__all__ = [
    "API_VERSION",
    "CommandRecord",
    "ModelRecord",
    "Plugin",
    "PluginInfo",
    "ShardingRule",
    "TargetRecord",
    "block",
    "hookimpl",
    "installed_plugins",
    "records",
    "refresh_plugins",
]
