"""Metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from artifex.core.errors import PluginConflict, did_you_mean
from artifex.core.evaluation.metric import Metric
from artifex.core.plugins.loader import records
from artifex.core.plugins.records import TargetRecord
from artifex.core.registry import load_target


class MetricsRegistry:
    """Metrics of installed plugins, and those registered in this process."""

    def __init__(self) -> None:
        self.in_process: dict[str, Callable[[], Metric]] = {}

    def register(self, name: str, make: Callable[[], Metric]) -> None:
        """Add a metric of this process.

        Raises:
            PluginConflict: the name is taken.
        """
        if name in self.names():
            raise PluginConflict(f"MetricsRegistry: expected a free name, got {name!r}. Choose another.")
        self.in_process[name] = make

    def names(self) -> tuple[str, ...]:
        """Every metric, in alphabetical order."""
        return tuple(sorted({record.name for record in self.records()} | self.in_process.keys()))

    def records(self) -> Iterator[TargetRecord]:
        """The records of installed plugins."""
        return (record for _, record in records("metrics"))

    def get(self, name: str) -> Metric:
        """A new metric.

        Raises:
            LookupError: no such metric.
        """
        if name in self.in_process:
            return self.in_process[name]()
        for record in self.records():
            if record.name == name:
                return load_target(record.target)()
        raise LookupError(
            f"MetricsRegistry: expected the name of a metric, got {name!r}.{did_you_mean(name, self.names())} "
            "Run 'artifex list-metrics' for the list."
        )
