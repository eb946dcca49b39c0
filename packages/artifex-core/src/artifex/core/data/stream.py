"""Larger data through grain: batches in the order of `order`, with a position that can be saved.

The order and the batches are those of the path in memory: row r of the run is example perm_e[r mod n] of epoch ⌊r / n⌋.
Of each batch, process p of P reads the rows p·B/P … (p+1)·B/P − 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from artifex.core.data.order import permutation
from artifex.core.data.source import Arrays, Source


class Rows:
    """The rows of every step as a random-access sequence, for grain."""

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.epoch, self.order = -1, np.zeros(0, int)

    def of_step(self, step: int) -> Int[np.ndarray, " batch"]:
        """Examples of a step."""
        first, wanted = step * self.batch_size, self.batch_size
        parts = []
        while wanted:
            epoch, offset = divmod(first, self.n)
            part = self._order_of(epoch)[offset : offset + wanted]
            parts.append(part)
            first, wanted = first + len(part), wanted - len(part)
        return np.concatenate(parts)

    def _order_of(self, epoch: int) -> Int[np.ndarray, " row"]:
        if epoch != self.epoch:
            self.epoch, self.order = epoch, permutation(self.n, self.seed, epoch)
        return self.order


class GrainStream:
    """An endless iterator of batches of a source, prefetched by grain threads.

    Args:
        process: (index, count) of this process; each reads its slice of every batch.

    Raises:
        ValueError: the batch does not divide by the number of processes.
    """

    def __init__(
        self, source: Source, batch_size: int, seed: int, *, process: tuple[int, int] = (0, 1), threads: int = 2
    ) -> None:
        index, count = process
        if batch_size % count:
            raise ValueError(
                f"GrainStream: expected a batch_size that {count} processes share equally, got {batch_size}. "
                f"Use {batch_size // count * count or count}."
            )
        self.source, self.threads = source, threads
        self.rows = Rows(len(source), batch_size, seed)
        self.mine = slice(index * batch_size // count, (index + 1) * batch_size // count)
        self.iterator = self._iterator()

    def _iterator(self) -> Any:
        import grain

        steps = grain.MapDataset.range(2**31 - 1)
        options = grain.ReadOptions(num_threads=self.threads, prefetch_buffer_size=4 * self.threads)
        return iter(steps.map(self._batch).to_iter_dataset(options))

    def _batch(self, step: int) -> Arrays:
        # A copy of the row table: grain calls from several threads.
        rows = Rows(self.rows.n, self.rows.batch_size, self.rows.seed).of_step(step)
        return self.source.take(rows[self.mine])

    def __iter__(self) -> GrainStream:
        return self

    def __next__(self) -> Arrays:
        return next(self.iterator)

    def get_state(self) -> Any:
        """The position, as JSON."""
        return self.iterator.get_state()

    def set_state(self, state: Any) -> None:
        """Go to a position that `get_state` gave."""
        self.iterator.set_state(state)
