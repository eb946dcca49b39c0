import jax
import jax.numpy as jnp
import numpy as np

from artifex.core.data.order import batch_rows
from artifex.core.data.resident import gather, order_window

N, BATCH = 10, 4
ARRAYS = {"x": np.arange(2.0 * N, dtype=np.float32).reshape(N, 2), "y": np.arange(N, dtype=np.int32)}


def test_gathered_batches_are_those_of_the_order():
    compiled = jax.jit(gather, static_argnames="batch_size")
    data = jax.device_put(ARRAYS)
    for step in range(12):
        epoch, start = divmod(step * BATCH, N)
        batch = compiled(data, jnp.asarray(order_window(N, 5, epoch)), jnp.int32(start), batch_size=BATCH)
        rows = batch_rows(N, BATCH, step, 5)
        assert np.array_equal(batch["y"], rows)
        assert np.array_equal(batch["x"], ARRAYS["x"][rows])


def test_one_program_serves_every_start():
    compiled = jax.jit(gather, static_argnames="batch_size")
    data, window = jax.device_put(ARRAYS), jnp.asarray(order_window(N, 0, 0))
    seen = [compiled(data, window, jnp.int32(start), batch_size=BATCH)["y"] for start in range(N)]
    assert compiled._cache_size() == 1
    assert np.array_equal(np.stack(seen)[:, 0], window[:N])


def test_a_window_holds_each_example_once_an_epoch():
    window = order_window(N, 3, 8, epochs=5)
    assert window.dtype == np.int32
    assert np.array_equal(np.bincount(window), np.full(N, 5))
