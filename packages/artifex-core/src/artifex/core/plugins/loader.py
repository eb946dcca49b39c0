"""Finding plugins: every entry point of the group `artifex`, each loaded on its own.

pluggy validates hooks and holds them; the loading is ours, because its own loader stops at the first broken plugin and
drops a second entry point of the same name in silence. Here a plugin that cannot be used is noted, said in one line,
and hurts nobody else.

    status         meaning
    ok             loaded, brings something
    empty          loaded, brings nothing
    blocked        switched off: -p no:NAME, ARTIFEX_DISABLE_PLUGINS, or not in ARTIFEX_PLUGINS
    incompatible   written for another API version
    broken         raised, or has a hook that does not fit
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NamedTuple

import pluggy

from artifex.core.plugins import hookspecs
from artifex.core.plugins.records import API_VERSION, PluginInfo

GROUP = "artifex"
Status = Literal["ok", "empty", "blocked", "incompatible", "broken"]


class Plugin(NamedTuple):
    """One entry point and what became of it."""

    distribution: str
    version: str
    name: str
    module: str
    status: Status
    summary: str = ""
    problem: str = ""  # one line
    details: str = ""  # a traceback

    @property
    def identity(self) -> str:
        """Distribution and entry point: two distributions may use one entry-point name."""
        return f"{self.distribution}:{self.name}"


class Loaded(NamedTuple):
    """All plugins, and the hooks of the sound ones."""

    plugins: tuple[Plugin, ...]
    manager: pluggy.PluginManager


class Unusable(Exception):
    """A plugin cannot be used."""

    def __init__(self, status: Status, problem: str) -> None:
        self.status: Status = status
        super().__init__(problem)


blocked_names: set[str] = set()  # by `-p no:NAME`


def installed_plugins() -> tuple[Plugin, ...]:
    """Every plugin that is installed, in order of distribution."""
    return _load().plugins


def records(kind: str) -> Iterator[tuple[Plugin, Any]]:
    """Each record of a kind (`models`, `datasets`, …) with the plugin that brings it.

    A hook that raises makes its plugin `broken`; the others are heard.
    """
    loaded = _load()
    for plugin in loaded.plugins:
        module = loaded.manager.get_plugin(plugin.identity)
        hook = getattr(module, f"register_{kind}", None) if module is not None else None
        if hook is None:
            continue
        try:
            found = tuple(hook())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a stranger's hook raises must not reach the others
            report(f"{plugin.identity}: expected records from register_{kind}, got {_line(error)}.")
            continue
        for record in found:
            yield plugin, record


def refresh_plugins() -> None:
    """Look again, after something was installed in this process."""
    importlib.invalidate_caches()
    _load.cache_clear()


def report(problem: str) -> None:
    """One line on stderr, or an error under ARTIFEX_STRICT_PLUGINS=1."""
    if os.environ.get("ARTIFEX_STRICT_PLUGINS") == "1":
        raise RuntimeError(problem)
    print(f"artifex: {problem} Run 'artifex doctor' for details.", file=sys.stderr)


@functools.cache
def _load() -> Loaded:
    manager = pluggy.PluginManager("artifex")
    manager.add_hookspecs(hookspecs)
    points = sorted(entry_points(group=GROUP), key=lambda point: (_owner(point), point.name))
    plugins = tuple(_load_one(point, manager) for point in points)
    for plugin in plugins:
        if plugin.status in ("broken", "incompatible"):
            report(f"{plugin.identity} is {plugin.status}: {plugin.problem}")
    return Loaded(plugins, manager)


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"


def _load_one(point: EntryPoint, manager: pluggy.PluginManager) -> Plugin:
    """Import, check and register one plugin; whatever it does, a record of it comes back."""
    version = point.dist.version if point.dist is not None else "0"
    plugin = Plugin(_owner(point), version, point.name, point.value, "ok")
    if _is_blocked(plugin):
        return plugin._replace(status="blocked", problem="switched off")
    try:
        module = importlib.import_module(point.value)
        info = _checked_info(module)
        manager.register(module, name=plugin.identity)
        _check_hooks(manager, plugin.identity)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a plugin may try to end the program
        _forget(manager, plugin.identity)
        status: Status = error.status if isinstance(error, Unusable) else "broken"
        return plugin._replace(status=status, problem=_line(error), details=traceback.format_exc())
    brings = manager.get_hookcallers(manager.get_plugin(plugin.identity))
    return plugin._replace(status="ok" if brings else "empty", summary=info.summary)


def _checked_info(module: Any) -> PluginInfo:
    """The module's PLUGIN, if it was written for this API."""
    info = getattr(module, "PLUGIN", None)
    if not isinstance(info, PluginInfo):
        raise Unusable("broken", f"expected PLUGIN = PluginInfo(api={API_VERSION}), got {info!r}. Add it.")
    major, minor = info.api
    if major != API_VERSION[0] or minor > API_VERSION[1]:
        raise Unusable(
            "incompatible",
            f"expected plugin API {API_VERSION[0]}.0 to {API_VERSION[0]}.{API_VERSION[1]}, got {major}.{minor}. "
            f"Upgrade {'artifex-core' if (major, minor) > API_VERSION else 'the plugin'}.",
        )
    return info


def _check_hooks(manager: pluggy.PluginManager, identity: str) -> None:
    """Refuse hook implementations that no hook specification knows."""
    module = manager.get_plugin(identity)
    for caller in manager.get_hookcallers(module) or ():
        if not caller.has_spec():
            known = sorted(name for name in vars(hookspecs) if name.startswith("register_"))
            raise Unusable("broken", f"expected one of the hooks {', '.join(known)}, got {caller.name!r}. Rename it.")


def _forget(manager: pluggy.PluginManager, identity: str) -> None:
    if manager.has_plugin(identity):
        manager.unregister(name=identity)


def _is_blocked(plugin: Plugin) -> bool:
    names = {plugin.distribution, plugin.name, plugin.identity}
    disabled = set(os.environ.get("ARTIFEX_DISABLE_PLUGINS", "").split(",")) | blocked_names
    allowed = os.environ.get("ARTIFEX_PLUGINS")
    return bool(names & disabled) or (allowed is not None and not names & {*allowed.split(","), "artifex-core"})


def _line(error: BaseException) -> str:
    """An exception in one line."""
    text = str(error).strip().splitlines()
    what = text[0] if text else ""
    return what if isinstance(error, Unusable) else f"{type(error).__name__}: {what}" if what else type(error).__name__
