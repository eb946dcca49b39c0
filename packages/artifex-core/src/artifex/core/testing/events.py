"""Counting what jax traces and compiles."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax

TRACING = ("jaxpr_trace_duration", "backend_compile_duration")
_counters: list[list[str]] = []


def _listen(event: str, duration_secs: float, **_: str | int) -> None:
    for counter in _counters:
        if event.endswith(TRACING):
            counter.append(event.rsplit("/", 1)[-1])


jax.monitoring.register_event_duration_secs_listener(_listen)


@contextlib.contextmanager
def traced() -> Iterator[list[str]]:
    """The traces and compilations of a block, one entry each."""
    events: list[str] = []
    _counters.append(events)
    try:
        yield events
    finally:
        _counters.remove(events)
