"""Rows of metrics: read from the device late, then written, shown and kept.

A row that is read while its steps still run would make the host wait; so a row is read when the next one is due.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from artifex.core.errors import RunError
from artifex.core.training.callbacks import Callback
from artifex.core.training.config import Policy
from artifex.core.training.run_dir import RunDir
from artifex.core.training.utilisation import utilisation

MOST_IN_A_ROW = 20  # steps left out one after the other, after which going on makes no sense


class Pending(NamedTuple):
    """A row that is still on the device."""

    step: int
    metrics: Array
    steps_per_s: float | None


class Journal:
    """The rows of a fit, in order."""

    def __init__(self, run: RunDir | None, callbacks: Sequence[Callback], policy: Policy, batch_size: int) -> None:
        self.run, self.callbacks, self.policy, self.batch_size = run, callbacks, policy, batch_size
        self.rows: list[dict[str, float]] = []
        self.pending: list[Pending] = []
        self.names: tuple[str, ...] = ()
        self.flops: float | None = None  # of a step on one device, where its peak is known
        self.clock: tuple[int, float] | None = None  # step and time of the last row

    def tick(self, step: int) -> None:
        """Measure speed from here on: everything is compiled."""
        self.clock = (step, time.perf_counter())

    def push(self, step: int, metrics: Array) -> None:
        """A row's metrics are being computed; the rows before it are read."""
        now = time.perf_counter()
        speed = None
        if self.clock is not None and step > self.clock[0]:
            speed = (step - self.clock[0]) / (now - self.clock[1])
        self.clock = (step, now)
        self.flush()
        self.pending.append(Pending(step, metrics, speed))

    def flush(self) -> None:
        """Read the rows that are on the device.

        Raises:
            RunError: their steps were not finite, and the policy or their number says to stop.
        """
        while self.pending:
            due = self.pending.pop(0)
            values = jax.device_get(due.metrics)
            self.write(self._row(due, values))
            self._judge(due.step, int(values[-1, 0]), int(values[-1, 1]))

    def write(self, row: Mapping[str, float]) -> None:
        """Keep a row, and tell everyone."""
        self.rows.append(dict(row))
        if self.run is not None:
            self.run.append_metrics(row)
        for callback in self.callbacks:
            callback.log(row)

    def _row(self, due: Pending, values: np.ndarray) -> dict[str, float]:
        row: dict[str, float] = {"step": due.step}
        for name, (total, weight) in zip(self.names, values[:-1], strict=True):
            if weight > 0:
                row[name] = float(total / weight)
        if values[-1, 0]:
            row["left_out"] = float(values[-1, 0])
        if due.steps_per_s is not None:
            row |= {"steps_per_s": due.steps_per_s, "examples_per_s": due.steps_per_s * self.batch_size}
            share = (
                None if self.flops is None else utilisation(self.flops, due.steps_per_s, jax.devices()[0].device_kind)
            )
            row |= {} if share is None else {"mfu": share}
        return row

    def _judge(self, step: int, left_out: int, in_a_row: int) -> None:
        if (self.policy == "raise" and left_out) or (self.policy == "skip" and in_a_row >= MOST_IN_A_ROW):
            raise RunError(
                f"Trainer: expected finite losses and gradients, got NaN or infinity in {left_out} updates up to step "
                f"{step}, which were left out. Lower the learning rate, set clip_norm, or look at the data; "
                "nonfinite: skip goes on without such updates."
            )
