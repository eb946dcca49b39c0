"""How batches reach the compiled step.

In memory, the data lie on the devices and a batch is gathered inside the step. With n examples and B a batch, row r of
the run is example perm_e[r mod n] of epoch e = ⌊r / n⌋, and step s reads the rows

    sB, …, (s + 1)B − 1,                                                                                        (1)
so the position is the step, epochs follow each other without a gap, and no example is lost or seen twice in an epoch.
The order of some epochs lies on the devices too; the host replaces it when it is used up.

Anything else streams: the host hands over one batch a step, and of several processes each reads its own rows of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from artifex.core.data.order import check_batch_size
from artifex.core.data.resident import gather, order_window
from artifex.core.data.source import Source, as_source
from artifex.core.data.stream import GrainStream

RESIDENT_BYTES = 2**30  # larger sources stream, so that the data leave room for the model
WINDOW_STEPS = 64  # steps for which an order is laid out at least

Transform = Callable[[dict[str, Array], Key[Array, ""]], dict[str, Array]]


@runtime_checkable
class Resumable(Protocol):
    """An iterator whose position is a JSON value."""

    def get_state(self) -> Any:
        """The position."""
        ...

    def set_state(self, state: Any) -> None:
        """Go to a position."""
        ...


class Reader(NamedTuple):
    """The traced end of a feed: how a step takes its batch out of what the host laid out."""

    take: Callable[[Any, Array, Any, int], dict[str, Array]]
    batch_size: int
    transform: Transform | None  # noise that belongs to the data
    rows: Any = None  # the sharding of a batch; without it every device would compute all of the rows

    def __call__(self, arrays: Any, step: Int[Array, ""], index: Any, key: Key[Array, ""]) -> dict[str, Array]:
        """The batch of a step, which is step number `index` of its call."""
        batch = self.take(arrays, step, index, self.batch_size)
        if self.rows is not None:
            batch = jax.lax.with_sharding_constraint(batch, self.rows)
        return batch if self.transform is None else self.transform(batch, key)


class Places(NamedTuple):
    """Shardings on a mesh; all None on one device."""

    data: Any = None  # of data in memory
    streamed: Any = None  # of batches from the host, [k, row, ...]
    rows: Any = None  # of the batch that a step computes on

    def own_rows(self, batch_size: int) -> slice:
        """The rows of a batch that this process's devices compute on."""
        if self.rows is None:
            return slice(0, batch_size)
        places = self.rows.addressable_devices_indices_map((batch_size,)).values()
        spans = [index[0].indices(batch_size) for index in places]
        return slice(min(first for first, _, _ in spans), max(last for _, last, _ in spans))

    def put(self, batches: Mapping[str, np.ndarray], batch_size: int) -> dict[str, Array]:
        """This process's rows of some batches, [k, row, ...], as parts of the whole."""
        if jax.process_count() == 1:
            return jax.device_put(dict(batches), self.streamed)
        whole = {name: (len(x), batch_size, *x.shape[2:]) for name, x in batches.items()}
        make = jax.make_array_from_process_local_data
        return {name: make(self.streamed, x, whole[name]) for name, x in batches.items()}


HERE = Places()


class Window(NamedTuple):
    """What the step reads, and the step before which it is good."""

    arrays: Any
    until: int


class Feed(Protocol):
    """The host's end: where batches come from."""

    reader: Reader

    def outline(self) -> Any:
        """Shapes and dtypes of what a window of one step holds."""
        ...

    def window(self, step: int, k: int) -> Window:
        """Batches for k steps from `step` on, and perhaps for more."""
        ...

    def position(self) -> Mapping[str, Any]:
        """Where the feed stands after the last window, as JSON."""
        ...

    def seek(self, position: Mapping[str, Any]) -> None:
        """Stand where `position` says."""
        ...


class Resident:
    """A source in memory, gathered on the device (eq. 1)."""

    def __init__(self, source: Source, batch_size: int, seed: int, places: Places = HERE) -> None:
        self.source, self.seed, self.place, self.n = source, seed, places.data, len(source)
        self.reader = Reader(rows_of_step, batch_size, source.transform, places.rows)
        self.data = jax.device_put(source.take(np.arange(self.n)), self.place)

    def outline(self) -> Any:
        """Shapes of the data and of an order."""
        return jax.eval_shape(lambda: self.window(0, 1).arrays)

    def window(self, step: int, k: int) -> Window:
        """The order of the rows from `step` on."""
        batch_size = self.reader.batch_size
        epoch, offset = divmod(step * batch_size, self.n)
        epochs = 1 + math.ceil(batch_size * max(k, WINDOW_STEPS) / self.n)
        order = order_window(self.n, self.seed, epoch, epochs)
        start = np.array([step, offset], np.int32)
        until = step + (len(order) - offset) // batch_size
        return Window((self.data, *jax.device_put((order, start), self.place)), until)

    def position(self) -> Mapping[str, Any]:
        """What the step's number is counted in."""
        sizes = {"n": self.n, "batch_size": self.reader.batch_size, "seed": self.seed}
        return {"digest": self.source.digest, **sizes}

    def seek(self, position: Mapping[str, Any]) -> None:
        """Nothing to move, because the step is the position; other data are refused."""
        own = self.position()
        other = [
            f"{name} {position.get(name)!r} is now {own[name]!r}" for name in own if position.get(name) != own[name]
        ]
        if other:
            raise ValueError(
                f"Trainer: expected the data that the run was started on, got others: {'; '.join(other)}. "
                "Resume with the same data, batch size and seed, or start a new run from the saved model."
            )


def rows_of_step(arrays: Any, step: Int[Array, ""], index: Any, batch_size: int) -> dict[str, Array]:
    """The rows of a step from data in memory (eq. 1)."""
    data, order, start = arrays
    return gather(data, order, start[1] + (step - start[0]) * batch_size, batch_size)


class Stream:
    """An iterator of host batches; it can be resumed if it has `get_state` and `set_state`.

    Of several processes, each one's iterator gives the rows that its own devices compute on.
    """

    def __init__(
        self, batches: Iterator[Any], batch_size: int, places: Places = HERE, *, transform: Transform | None = None
    ) -> None:
        self.batches, self.places = batches, places
        rows = places.own_rows(batch_size)
        self.n_rows = rows.stop - rows.start
        self.reader = Reader(pick_streamed, batch_size, transform, places.rows)
        self.ahead: list[dict[str, np.ndarray]] = []  # a batch that was looked at
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.state: Any = None

    def outline(self) -> Any:
        """Shapes of the next batch, which stays the next one."""
        if not self.ahead:
            self.ahead.append(self._next(0))
        return {
            name: jax.ShapeDtypeStruct((1, self.reader.batch_size, *x.shape[1:]), jnp.asarray(x[:0]).dtype)
            for name, x in self.ahead[0].items()
        }

    def window(self, step: int, k: int) -> Window:
        """The next k batches, stacked."""
        taken = [self.ahead.pop() if self.ahead else self._next(step + i) for i in range(k)]
        stacked = {name: np.stack([batch[name] for batch in taken]) for name in taken[0]}
        if isinstance(self.batches, Resumable):
            self.state = self.batches.get_state()
        return Window(self.places.put(stacked, self.reader.batch_size), step + k)

    def _next(self, step: int) -> dict[str, np.ndarray]:
        batch = next(self.batches, None)
        if batch is None:
            raise ValueError(
                f"Trainer: expected batches up to the last step, got none at step {step}. "
                "Give an iterator that goes on, or a source, which repeats by itself."
            )
        arrays = {name: np.asarray(x) for name, x in batch.items()}
        shapes = {name: x.shape for name, x in arrays.items()}
        if {len(x) for x in arrays.values()} != {self.n_rows} or self.shapes not in ({}, shapes):
            raise ValueError(
                f"Trainer: expected batches of {self.n_rows} rows and of one shape, got {shapes} at step "
                f"{step}, after {self.shapes}. Pad or drop what is left over."
            )
        self.shapes = shapes
        return arrays

    def position(self) -> Mapping[str, Any]:
        """The iterator's own state, or that there is none."""
        return {"iterator": self.state}

    def seek(self, position: Mapping[str, Any]) -> None:
        """Put the iterator where the checkpoint left it."""
        if not isinstance(self.batches, Resumable) or position.get("iterator") is None:
            raise ValueError(
                "Trainer.resume: expected data whose position can be restored, got a plain iterator. "
                "Give a source or an iterator with get_state and set_state."
            )
        self.batches.set_state(position["iterator"])


def pick_streamed(arrays: Any, step: Int[Array, ""], index: Any, batch_size: int) -> dict[str, Array]:
    """Batch number `index` of those that the host stacked."""
    return {name: x[index] for name, x in arrays.items()}


def make_feed(data: Any, batch_size: int, seed: int, places: Places = HERE) -> Feed:
    """The feed for a source, an array, a mapping of arrays, or an iterator of batches."""
    if isinstance(data, Iterator):
        return Stream(data, batch_size, places)
    source = as_source(data)
    check_batch_size(batch_size, len(source))
    one = source.take(np.arange(1))
    if len(source) * sum(x.nbytes for x in one.values()) > RESIDENT_BYTES:
        batches = GrainStream(source, batch_size, seed, rows=places.own_rows(batch_size))
        return Stream(batches, batch_size, places, transform=source.transform)
    return Resident(source, batch_size, seed, places)
