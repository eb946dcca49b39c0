"""Larger data through grain: batches prefetched by threads, with a position that can be saved.

The order is that of data in memory (eq. 3 of `order`), whatever the number of threads and processes. Of each batch, a
process reads the rows that its devices compute on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from artifex.core.data.order import batch_rows, check_batch_size
from artifex.core.data.source import Arrays, Source
from artifex.core.errors import ConfigError

LAST_STEP = 2**31 - 1


class GrainStream:
    """An endless iterator of batches of a source.

    Args:
        rows: those of every batch that this process reads.
        threads: how many batches are read at a time.

    Raises:
        ConfigError: a batch larger than the data.
    """

    def __init__(
        self, source: Source, batch_size: int, seed: int, *, rows: slice = slice(None), threads: int = 2
    ) -> None:
        check_batch_size(batch_size, len(source))
        self.source, self.batch_size, self.seed, self.rows = source, batch_size, seed, rows
        self.iterator = self._open(threads)

    def _open(self, threads: int) -> Any:
        import grain

        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
        return iter(grain.MapDataset.range(LAST_STEP).map(self.batch).to_iter_dataset(options))

    def batch(self, step: int) -> Arrays:
        """This process's part of batch `step`."""
        return self.source.take(batch_rows(len(self.source), self.batch_size, step, self.seed)[self.rows])

    def __iter__(self) -> GrainStream:
        return self

    def __next__(self) -> Arrays:
        return next(self.iterator)

    def get_state(self) -> dict[str, Any]:
        """The position after the last batch that was handed out, and what it is counted in, as JSON."""
        return {"grain": self.iterator.get_state(), **self._counted_in()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to a position that `get_state` gave.

        Raises:
            ConfigError: it belongs to other data, another batch size or another seed.
        """
        own = self._counted_in()
        other = [f"{name} {state.get(name)!r} is now {own[name]!r}" for name in own if state.get(name) != own[name]]
        if other:
            raise ConfigError(
                f"GrainStream: expected the data that the position was saved on, got others: {'; '.join(other)}. "
                "Use the same data, batch size and seed."
            )
        self.iterator.set_state(state["grain"])

    def _counted_in(self) -> dict[str, Any]:
        sizes = {"n": len(self.source), "batch_size": self.batch_size, "seed": self.seed}
        return {"digest": self.source.digest, **sizes}
