"""Signals that ask a run to stop: seen at the next step, so that a checkpoint can be written first.

Several processes must stop at the same step. There jax's own watch on SIGTERM agrees on one, and SIGINT is passed on
to it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Which signal asked to stop, if one did."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self, number: int, frame: Any) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt  # asked twice: at once
        self.signal = signal.Signals(number)

    def agreed(self, step: int) -> bool:
        """Whether several processes stop before this step; all of them ask, and all hear the same."""
        if multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
        return self.signal is not None


def _pass_on(number: int, frame: Any) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Watch for SIGINT and SIGTERM; outside the main thread, where Python allows no handlers, nothing is watched."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    handlers: dict[signal.Signals, Any] = dict.fromkeys(STOPPING, stop)
    if jax.process_count() > 1:
        handlers = {signal.SIGINT: _pass_on}
    old = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
