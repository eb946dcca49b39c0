"""The order of examples: a pure function of seed and epoch.

    perm_e = permutation of 0 … n − 1 by Philox(seed, e)                                                         (1)
so that any position of any run can be found again without replaying what came before it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int


def permutation(n: int, seed: int, epoch: int) -> Int[np.ndarray, " row"]:
    """The order of n examples in an epoch (eq. 1)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch)))).permutation(n)


def batch_rows(n: int, batch_size: int, step: int, seed: int) -> Int[np.ndarray, " batch"]:
    """Examples of step `step`: rows sB … (s+1)B − 1 of all epochs laid end to end."""
    rows = np.arange(step * batch_size, (step + 1) * batch_size)
    orders = {epoch: permutation(n, seed, int(epoch)) for epoch in np.unique(rows // n)}
    return np.array([orders[row // n][row % n] for row in rows])
