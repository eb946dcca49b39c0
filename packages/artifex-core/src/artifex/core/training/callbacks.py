"""What may watch a run: a progress bar, TensorBoard, Weights & Biases, a profile.

A callback sees numbers, never the arrays of the running state; who needs the model asks the trainer for a copy.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import jax

from artifex.core.errors import MissingDependency

Row = Mapping[str, float]


class Callback(Protocol):
    """Called when a fit starts, at each row of metrics, and when the fit ends, well or not."""

    def start(self, step: int, end: int) -> None:
        """A fit goes from `step` to `end`."""
        ...

    def log(self, row: Row) -> None:
        """A row of metrics is there: `step`, losses, speed."""
        ...

    def end(self) -> None:
        """The fit is over."""
        ...


class ProgressBar:
    """A bar with the loss on stderr; where stderr is no terminal, about ten lines instead."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.task: Any = None
        self.next, self.tenth = 0.0, 1.0

    def start(self, step: int, end: int) -> None:
        """Show the bar."""
        if not sys.stderr.isatty():
            self.next, self.tenth = step, (end - step) / 10
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self.task = self.bar.add_task("training", total=end, completed=step, note="compiling")
        self.bar.start()

    def log(self, row: Row) -> None:
        """Move the bar."""
        losses = " · ".join(f"{name} {value:.4g}" for name, value in row.items() if name.split("/")[-1] == "loss")
        rate = f" · {row['steps_per_s']:.0f} steps/s" if "steps_per_s" in row else ""
        if self.bar is not None:
            self.bar.update(self.task, completed=row["step"], note=losses + rate)
        elif row["step"] >= self.next:
            print(f"step {row['step']:.0f} · {losses}{rate}", file=sys.stderr)
            self.next = row["step"] + self.tenth

    def end(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


class TensorBoard:
    """Rows as TensorBoard scalars in `folder`."""

    def __init__(self, folder: str | Path) -> None:
        self.writer = optional("tensorboardX", "tensorboard").SummaryWriter(str(folder))

    def start(self, step: int, end: int) -> None:
        """Nothing to prepare."""

    def log(self, row: Row) -> None:
        """Write each number but the step."""
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(name, value, int(row["step"]))

    def end(self) -> None:
        """Write what is buffered."""
        self.writer.flush()


class WandB:
    """Rows in a Weights & Biases run; `options` go to `wandb.init`."""

    def __init__(self, **options: Any) -> None:
        self.run = optional("wandb", "wandb").init(**options)

    def start(self, step: int, end: int) -> None:
        """Nothing to prepare."""

    def log(self, row: Row) -> None:
        """Send the row."""
        self.run.log({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

    def end(self) -> None:
        """Close the run."""
        self.run.finish()


class Profile:
    """A profile of the steps between two rows of metrics, `first` and `last` or the next ones, in `folder`."""

    def __init__(self, folder: str | Path, first: int, last: int) -> None:
        self.folder, self.first, self.last, self.running = str(folder), first, last, False

    def start(self, step: int, end: int) -> None:
        """Begin at once if the window does."""
        self.log({"step": step})

    def log(self, row: Row) -> None:
        """Begin or stop where the window says."""
        if not self.running and self.first <= row["step"] < self.last:
            jax.profiler.start_trace(self.folder)
            self.running = True
        elif self.running and row["step"] >= self.last:
            self.end()

    def end(self) -> None:
        """Write the profile if one is running."""
        if self.running:
            jax.profiler.stop_trace()
            self.running = False


def optional(module: str, extra: str) -> ModuleType:
    """A module that an extra of artifex-core brings.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(
            f"artifex: expected the package {module!r}, got none. Run: pip install 'artifex-core[{extra}]'."
        ) from error
