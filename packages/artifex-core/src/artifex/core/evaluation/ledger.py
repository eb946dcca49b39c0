"""An append-only ledger of results: one SQLite file, a row a value.

Rows are comparable when data, extractor, metric, version, number and seed are equal; only the model may differ. Unlike
rows are never compared: the error names the first field that differs.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from artifex.core.errors import RunError
from artifex.core.evaluation.pipeline import EvaluationResult

SCHEMA = 1
KEY = ("metric", "version", "data", "extractor", "n", "seed")  # equal, or not compared
COLUMNS = (*KEY, "value", "ci_low", "ci_high", "higher_is_better", "flags", "model", "config", "date")
_CREATE = f"""
CREATE TABLE IF NOT EXISTS results (id INTEGER PRIMARY KEY, {", ".join(COLUMNS)});
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON results BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON results BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""


class Entry(NamedTuple):
    """A row."""

    metric: str
    version: int
    data: str
    extractor: str | None
    n: int
    seed: int
    value: float
    ci_low: float
    ci_high: float
    higher_is_better: bool
    flags: str
    model: str
    config: str  # digest of the model's config
    date: str


class Ledger:
    """A ledger in a file.

    Raises:
        RunError: the file is of another schema, or no ledger at all.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.connection = sqlite3.connect(self.path, timeout=30)
        try:
            found = self.connection.execute("PRAGMA user_version").fetchone()[0]
            tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if found != SCHEMA and (found or tables):
                raise RunError(f"{path}: expected a ledger of schema {SCHEMA}, got {found}. Use a new file.")
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.executescript(f"PRAGMA user_version = {SCHEMA};{_CREATE}")
        except sqlite3.DatabaseError as error:
            raise RunError(f"{path}: expected a ledger, got {error}. Use a new file.") from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def add(self, found: EvaluationResult) -> None:
        """Append every value of an evaluation."""
        about = found.provenance
        config = hashlib.sha256(json.dumps(about["config"], sort_keys=True).encode()).hexdigest()[:16]
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.append(
            Entry(
                r.metric,
                r.version,
                r.data,
                r.extractor,
                r.n,
                about["seed"],
                r.value,
                r.ci_low,
                r.ci_high,
                r.higher_is_better,
                ";".join(r.flags),
                about["model"],
                config,
                date,
            )
            for r in found.results
        )

    def append(self, entries: Iterator[Entry] | Sequence[Entry]) -> None:
        """Append rows, all or none."""
        marks = ", ".join("?" * len(COLUMNS))
        with self.connection:
            self.connection.executemany(f"INSERT INTO results ({', '.join(COLUMNS)}) VALUES ({marks})", list(entries))

    def entries(self) -> list[Entry]:
        """All rows, in the order in which they came."""
        rows = self.connection.execute(f"SELECT {', '.join(COLUMNS)} FROM results ORDER BY id").fetchall()
        return [Entry(*row)._replace(higher_is_better=bool(row[COLUMNS.index("higher_is_better")])) for row in rows]

    def newest(self) -> dict[str, Entry]:
        """The newest row of each metric."""
        return {entry.metric: entry for entry in self.entries()}

    def export(self, path: str | Path) -> None:
        """Write all rows as sorted JSON lines: equal rows give equal bytes."""
        lines = sorted(json.dumps(entry._asdict(), sort_keys=True) for entry in self.entries())
        Path(path).write_text("".join(line + "\n" for line in lines), encoding="utf-8")

    def read(self, path: str | Path) -> None:
        """Append the rows of an exported file."""
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        self.append([Entry(**json.loads(line)) for line in lines])


class Comparison(NamedTuple):
    """Two values of one metric."""

    metric: str
    a: float
    b: float
    verdict: str  # improved same regressed: b against a


def compare(a: Entry, b: Entry) -> Comparison:
    """b against a: a difference counts when the intervals do not touch.

    Raises:
        ValueError: the rows cannot be compared.
    """
    for field in KEY:
        if getattr(a, field) != getattr(b, field):
            raise ValueError(
                f"compare: expected rows of one {field}, got {getattr(a, field)!r} and {getattr(b, field)!r} for "
                f"{a.metric}. Evaluate both on the same data, with the same n and seed."
            )
    better = b.ci_low > a.ci_high if a.higher_is_better else b.ci_high < a.ci_low
    worse = b.ci_high < a.ci_low if a.higher_is_better else b.ci_low > a.ci_high
    return Comparison(a.metric, a.value, b.value, "improved" if better else "regressed" if worse else "same")


@contextlib.contextmanager
def existing(path: Path) -> Iterator[Ledger]:
    """A ledger that is there.

    Raises:
        RunError: it is not.
    """
    if not path.is_file():
        raise RunError(f"{path}: expected a ledger, got none. Run artifex evaluate first.")
    with Ledger(path) as ledger:
        yield ledger


def facts(entry: Entry) -> dict[str, Any]:
    """A row as plain values."""
    return entry._asdict()
