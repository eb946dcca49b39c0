"""Finding plugins: every entry point of the group `artifex`, each loaded on its own.

pluggy validates hooks and holds them; the loading is ours, because its own loader stops at the first broken plugin and
drops a second entry point of the same name in silence. Here a plugin that cannot be used is noted, said in one line,
and hurts nobody else.

    status         meaning
    ok             loaded, brings something
    empty          loaded, brings nothing
    blocked        switched off: -p no:NAME, ARTIFEX_DISABLE_PLUGINS, or not in ARTIFEX_PLUGINS
    incompatible   written for another API version
    broken         raised, or brings something that does not fit

    stage          what was being done when it failed
    import         importing its module
    api            reading PLUGIN
    hooks          comparing its hooks with the specifications
    records        calling its hooks
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NamedTuple, cast

import pluggy

from artifex.core.plugins import hookspecs
from artifex.core.plugins.check import problem_of
from artifex.core.plugins.records import API_VERSION, PluginInfo

GROUP = "artifex"
CORE = "artifex-core"  # an allow list need not name it
Status = Literal["ok", "empty", "blocked", "incompatible", "broken"]


class Plugin(NamedTuple):
    """One entry point and what became of it."""

    distribution: str
    version: str
    name: str
    module: str
    status: Status
    summary: str = ""
    stage: str = ""  # where it failed
    problem: str = ""  # one line
    details: str = ""  # a traceback

    @property
    def identity(self) -> str:
        """Distribution and entry point: two distributions may use one entry-point name."""
        return f"{self.distribution}:{self.name}"


class Loaded(NamedTuple):
    """Every plugin, and what the sound ones bring: (kind, plugin, record)."""

    plugins: tuple[Plugin, ...]
    records: tuple[tuple[str, Plugin, Any], ...]


class Unusable(Exception):
    """A plugin cannot be used; the message is the whole story."""

    def __init__(self, problem: str, status: Status = "broken") -> None:
        self.status: Status = status
        super().__init__(problem)


_blocked: set[str] = set()  # by `-p no:NAME`


def installed_plugins() -> tuple[Plugin, ...]:
    """Every plugin that is installed, in order of distribution and name."""
    return _load().plugins


def records(kind: str) -> Iterator[tuple[Plugin, Any]]:
    """Each record of a kind (`models`, `datasets`, …) with the plugin that brings it."""
    return ((plugin, record) for found, plugin, record in _load().records if found == kind)


def refresh_plugins() -> None:
    """Look again, after something was installed in this process."""
    importlib.invalidate_caches()
    _load.cache_clear()


def block(name: str) -> None:
    """Switch a plugin off in this process, by its distribution or its entry point."""
    _blocked.add(_normal(name))
    _load.cache_clear()


@functools.cache
def _load() -> Loaded:
    manager = pluggy.PluginManager("artifex")
    manager.add_hookspecs(hookspecs)
    points = [(_found(point), point) for point in entry_points(group=GROUP)]
    plugins: list[Plugin] = []
    brought: list[tuple[str, Plugin, Any]] = []
    for unloaded, point in sorted(points, key=lambda pair: pair[0].identity):
        plugin, found = _load_one(unloaded, point, manager)
        plugins.append(plugin)
        brought += [(kind, plugin, record) for kind, record in found]
    return Loaded(tuple(plugins), tuple(brought))


def _found(point: EntryPoint) -> Plugin:
    """The note of an entry point that nothing has become of yet; its METADATA is parsed once."""
    about = point.dist.metadata if point.dist is not None else None
    owner, version = (about[key] if about is not None and key in about else "unknown" for key in ("Name", "Version"))
    return Plugin(owner, version, point.name, point.value.partition(":")[0].strip(), "ok")


def _load_one(plugin: Plugin, point: EntryPoint, manager: pluggy.PluginManager) -> tuple[Plugin, list[tuple[str, Any]]]:
    """Import, check, register and ask one plugin; whatever it does, a note of it comes back."""
    if _is_blocked(plugin):
        return plugin._replace(status="blocked", problem="switched off"), []
    stage = "import"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is data, and may be JSON
            module = point.load()
            stage = "api"
            info = _checked_info(module)
            stage = "hooks"
            manager.register(module, name=plugin.identity)
            _check_hooks(manager, module)
            stage = "records"
            found = _collect(manager, plugin.identity)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a plugin may try to end the program
        if manager.has_plugin(plugin.identity):
            manager.unregister(name=plugin.identity)
        return _failed(plugin, stage, error), []
    plugin = plugin._replace(summary=info.summary)
    return (plugin, found) if found else (plugin._replace(status="empty", problem=_unmarked(module)), [])


def _failed(plugin: Plugin, stage: str, error: BaseException) -> Plugin:
    """The note of a plugin that failed, said once on stderr.

    Raises:
        RuntimeError: under ARTIFEX_STRICT_PLUGINS=1, from the plugin's own error.
    """
    text = " ".join(str(error).split())
    line = text if isinstance(error, Unusable) else f"{type(error).__name__}: {text}".rstrip(": ")
    line = line if line.endswith(".") else f"{line}."
    status: Status = error.status if isinstance(error, Unusable) else "broken"
    said = f"{plugin.identity} {plugin.version} is {status} ({stage}): {line}"
    if os.environ.get("ARTIFEX_STRICT_PLUGINS") == "1":
        raise RuntimeError(said) from error
    print(f"artifex: {said} It is left out; 'artifex doctor' tells more.", file=sys.stderr)
    return plugin._replace(status=status, stage=stage, problem=line, details="".join(traceback.format_exception(error)))


def _checked_info(module: Any) -> PluginInfo:
    """The module's PLUGIN, if it was written for this API."""
    info = getattr(module, "PLUGIN", None)
    if not isinstance(info, PluginInfo):
        raise Unusable(f"expected PLUGIN = PluginInfo(api={API_VERSION}), got {info!r}. Add it.")
    major, minor = info.api
    if major != API_VERSION[0] or minor > API_VERSION[1]:
        raise Unusable(
            f"expected plugin API {API_VERSION[0]}.0 to {API_VERSION[0]}.{API_VERSION[1]}, got {major}.{minor}. "
            f"Upgrade {CORE if (major, minor) > API_VERSION else 'the plugin'}.",
            "incompatible",
        )
    return info


def _check_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    """Refuse hook implementations that no hook specification knows."""
    for caller in manager.get_hookcallers(module) or ():
        if not caller.has_spec():
            known = ", ".join(f"register_{kind}" for kind in hookspecs.RECORD_TYPES)
            raise Unusable(f"expected hooks among {known}, got {caller.name!r}. Rename it.")


def _collect(manager: pluggy.PluginManager, identity: str) -> list[tuple[str, Any]]:
    """(kind, record) for everything that the hooks of one plugin return."""
    found: list[tuple[str, Any]] = []
    for caller in manager.get_hookcallers(manager.get_plugin(identity)) or ():
        kind = caller.name.removeprefix("register_")
        ours = [hook.function for hook in caller.get_hookimpls() if hook.plugin_name == identity]
        found += [(kind, record) for function in ours for record in _checked(kind, cast(Iterable[Any], function()))]
    return found


def _checked(kind: str, returned: Iterable[Any]) -> tuple[Any, ...]:
    """The records of one hook, each of the right form, no name twice."""
    brought = tuple(returned)
    problem = next(filter(None, (problem_of(kind, record) for record in brought)), "")
    if problem:
        raise Unusable(problem)
    names = [record.name for record in brought] if kind != "sharding_rules" else []
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Unusable(f"register_{kind}: expected each name once, got {', '.join(twice)} twice. Rename one.")
    return brought


def _unmarked(module: Any) -> str:
    """A hint for hooks that were written and not marked."""
    hooks = {f"register_{kind}": getattr(module, f"register_{kind}", None) for kind in hookspecs.RECORD_TYPES}
    missing = [name for name, hook in hooks.items() if hook is not None and getattr(hook, "artifex_impl", None) is None]
    return f"expected @hookimpl above {', '.join(missing)}, got none. Add it." if missing else ""


def _is_blocked(plugin: Plugin) -> bool:
    names = {_normal(plugin.distribution), _normal(plugin.name), _normal(plugin.identity)}
    if names & (_blocked | _names_in("ARTIFEX_DISABLE_PLUGINS")):
        return True
    allowed = _names_in("ARTIFEX_PLUGINS")
    return "ARTIFEX_PLUGINS" in os.environ and not names & {*allowed, CORE}


def _names_in(variable: str) -> set[str]:
    return {_normal(name) for name in os.environ.get(variable, "").split(",") if name.strip()}


def _normal(name: str) -> str:
    """A name as package indexes compare it: `My_Plugin` and `my-plugin` are one."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
