"""The conformance kit in pytest: opt in by `pytest_plugins = ["artifex.core.testing.plugin"]` in the root conftest.

    from artifex.core.testing.plugin import parametrize_model

    @parametrize_model("mine", expected_failures={"sharded": "why, and until when"})
    def test_conformance(conformance):
        conformance()

An expected failure is strict: a check that passes again must leave the list. The run says how many checks ran for each
model, and fails where a mandatory one was not collected.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Literal

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

import pytest

# Checks that compile programs of their own.
COSTLY = ("sharded", "resume", "bfloat16", "loss", "save")
BRIEF = ("record", "build")

Depth = Literal["whole", "cheap", "brief"]


class Case:
    """A check of a model, ready to be called."""

    def __init__(self, model: str, check: str) -> None:
        self.model, self.check = model, check

    def __call__(self) -> None:
        kit, subjects = _kit()
        kit.checks_of(self.model)[self.check](subjects.subject(self.model))


def parametrize_model(name: str, expected_failures: Mapping[str, str] | None = None, slow: Collection[str] = ()) -> Any:
    """A mark that runs the decorated test once for each check of a model.

    Args:
        expected_failures: a reason by check.
        slow: checks to be marked so, where another model of the family runs them on the same code.
    """
    kit, _ = _kit()
    expected = expected_failures or {}
    checks = kit.checks_of(name)
    unknown = set(expected) - set(checks)
    if unknown:
        raise ValueError(f"parametrize_model: expected checks among {sorted(checks)}, got {sorted(unknown)}.")
    cases = []
    for check in checks:
        marks = [pytest.mark.slow] if check in slow else []
        if check in expected:
            marks.append(pytest.mark.xfail(reason=expected[check], strict=True))
        cases.append(pytest.param(Case(name, check), id=f"{name}-{check}", marks=marks))
    return pytest.mark.parametrize("conformance", cases)


def parametrize_models(depths: Mapping[str, Depth]) -> Any:
    """A mark that runs the decorated test once for each check of each model of a family; some checks are marked slow.

    One trainer trains every model, so that few of them need all checks among the fast tests.

    Args:
        depths: which checks of a model stay among the fast ones: "whole" all, "cheap" all but `COSTLY`, "brief" those
            of `BRIEF`.
    """
    cases = [case for name, depth in depths.items() for case in _cases_of(name, depth)]
    return pytest.mark.parametrize("conformance", cases)


def _cases_of(name: str, depth: Depth) -> list[Any]:
    checks = set(_kit()[0].checks_of(name))
    slow = {"whole": set(), "cheap": set(COSTLY), "brief": checks - set(BRIEF)}[depth]
    return list(parametrize_model(name, slow=slow).args[1])


def _kit() -> Any:
    """The kit, by name, because it starts jax: not before the environment above is set, and not for other tests."""
    import importlib

    return importlib.import_module("artifex.core.testing.kit"), importlib.import_module("artifex.core.testing.subject")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many checks ran for each model."""
    counts: dict[str, Counter[str]] = {}
    for status in ("passed", "failed", "xfailed", "xpassed"):
        for report in terminalreporter.stats.get(status, ()):
            name = report.nodeid.partition("test_conformance[")[2].rstrip("]").partition("@")[0]
            if name and "-" in name:
                counts.setdefault(name.rpartition("-")[0], Counter())[status] += 1
    if counts:
        terminalreporter.section("conformance")
    for model, found in sorted(counts.items()):
        terminalreporter.write_line(f"{model:<24} " + ", ".join(f"{n} {status}" for status, n in sorted(found.items())))


def pytest_collection_modifyitems(session: Any, config: Any, items: list[Any]) -> None:
    """Refuse a collection that lists a model and lost one of its mandatory checks before any selection."""
    kit = None
    found: dict[str, set[str]] = {}
    for item in items:
        case = getattr(item, "callspec", None) and item.callspec.params.get("conformance")
        if isinstance(case, Case):
            found.setdefault(case.model, set()).add(case.check)
    for model, checks in found.items():
        kit = kit or _kit()[0]
        missing = set(kit.MANDATORY) - checks
        if missing and not config.option.keyword and not any("::" in str(arg) for arg in config.args):
            raise pytest.UsageError(
                f"conformance of {model}: expected every mandatory check, got none of {sorted(missing)}."
            )
