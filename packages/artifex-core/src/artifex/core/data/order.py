"""The order of examples: a pure function of seed and epoch.

    perm_e  = argsort of n words of Philox with key (seed, e)                                                    (1)
    row r of the run is example perm_e[r mod n] of epoch e = ⌊r / n⌋                                             (2)
    batch s reads the rows sB, …, (s + 1)B − 1                                                                   (3)
so any position of any run is found without replaying what came before it, epochs follow each other without a gap, and
no example is lost or seen twice in one. Philox words are fixed by its paper [1], hence by no version of numpy.

References:
    [1] Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011, doi:10.1145/2063384.2063405
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Int

from artifex.core.errors import ConfigError


@functools.lru_cache(maxsize=4)  # a batch between two epochs, while threads read ahead
def permutation(n: int, seed: int, epoch: int) -> Int[np.ndarray, " row"]:
    """The order of n examples in an epoch (eq. 1); not to be written to."""
    words = np.random.Philox(key=np.array([seed % 2**64, epoch], np.uint64)).random_raw(n)
    order = np.argsort(words, kind="stable")  # the same on every machine, even for equal words
    order.setflags(write=False)
    return order


def batch_rows(n: int, batch_size: int, step: int, seed: int) -> Int[np.ndarray, " batch"]:
    """The examples of batch `step` (eq. 3)."""
    epochs, places = np.divmod(np.arange(step * batch_size, (step + 1) * batch_size), n)  # eq. 2
    parts = [permutation(n, seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
    return np.concatenate(parts)


def check_batch_size(batch_size: int, n: int) -> None:
    """Refuse a batch that n examples cannot fill.

    Raises:
        ConfigError: the batch is empty or larger than the data.
    """
    if batch_size < 1:
        raise ConfigError(
            f"trainer.batch_size: expected at least 1, got {batch_size}. Choose how many rows a step reads."
        )
    if batch_size > n:
        raise ConfigError(
            f"trainer.batch_size: expected at most {n}, the number of examples, got {batch_size}. "
            "Lower it, or add data."
        )
