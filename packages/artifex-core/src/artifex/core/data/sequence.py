"""Sources that are read record by record, for data larger than memory.

Whatever has a length and gives record i as a mapping of arrays will do: a list, a grain MapDataset, a folder that is
decoded when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int

from artifex.core.data.source import Arrays, Transform, as_numbers, content_digest, finite_rows
from artifex.core.data.spec import DataSpec
from artifex.core.errors import ConfigError

LOOKED_AT = 16  # records that the digest reads, evenly spaced, where the caller gives none


class Records(Protocol):
    """Random access to records."""

    def __len__(self) -> int:
        """The number of records."""
        ...

    def __getitem__(self, index: Any, /) -> Mapping[str, Any]:
        """Record `index`: the arrays of one example."""
        ...


class SequenceSource:
    """The records of a sequence as a source.

    Args:
        digest: what tells these data from others; by default, their number and the content of 16 of them.

    Raises:
        ConfigError: no records.
    """

    def __init__(
        self,
        records: Records,
        spec: DataSpec,
        *,
        name: str = "records",
        digest: str | None = None,
        transform: Transform | None = None,
    ) -> None:
        if len(records) == 0:
            raise ConfigError(
                f"{name}: expected at least one example, got an empty data set. Check the path or the split."
            )
        self.records, self.spec, self.name, self.transform = records, spec, name, transform
        self._digest = digest or ""

    def __len__(self) -> int:
        return len(self.records)

    def take(self, indices: Int[np.ndarray, " row"]) -> Arrays:
        """The examples at some indices.

        Raises:
            ConfigError: one of them holds NaN or infinity.
        """
        taken = [self.records[int(index)] for index in indices]
        stacked = {key: np.stack([np.asarray(record[key]) for record in taken]) for key in taken[0]}
        arrays = {key: as_numbers(value, key, self.name) for key, value in stacked.items()}
        good = finite_rows(arrays)
        if not good.all():
            raise ConfigError(
                f"{self.name}: expected finite numbers, got NaN or infinity in record {int(indices[np.argmin(good)])}. "
                "Mend it, or leave it out."
            )
        return arrays

    @property
    def digest(self) -> str:
        """The given digest, or one of the number of records and some of their content."""
        if not self._digest:
            some = np.linspace(0, len(self) - 1, min(LOOKED_AT, len(self))).astype(int)
            self._digest = content_digest(self.take(some), f"{len(self)} records")
        return self._digest
