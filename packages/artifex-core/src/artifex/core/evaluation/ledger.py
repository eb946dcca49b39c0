"""An append-only ledger of results: one SQLite file, a row a value.

Rows are comparable when metric, version, data, extractor, number, parameters and seed are equal; only the model may
differ. Unlike rows are never compared: the error names the first field that differs.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from artifex.core.errors import RunError
from artifex.core.evaluation.result import EvaluationResult, Result
from artifex.core.evaluation.verdict import Measured, Verdict, judge, judge_history

SCHEMA = 1
KEY = ("metric", "version", "data", "extractor", "n", "params", "seed")  # equal, or not compared
WAIT = 60  # seconds that a writer waits for another


class Entry(NamedTuple):
    """A row."""

    metric: str
    version: int
    data: str  # name and digest of the content of the split
    extractor: str | None
    n: int
    params: str  # JSON
    seed: int
    value: float
    ci_low: float
    ci_high: float
    higher_is_better: bool
    flags: str  # joined by ;
    model: str
    config: str  # digest of the model's config
    weights: str  # digest of the model's arrays
    versions: str  # JSON
    date: str  # UTC

    @classmethod
    def of(cls, result: Result, about: Mapping[str, Any], date: str) -> Entry:
        """A result with its provenance."""
        fields = result._asdict() | {
            "flags": ";".join(result.flags),
            "params": json.dumps(dict(result.params), sort_keys=True),
            "seed": about["seed"],
            "model": about["model"],
            "config": hashlib.sha256(json.dumps(about["config"], sort_keys=True).encode()).hexdigest()[:16],
            "weights": about["weights"],
            "versions": json.dumps(about["versions"], sort_keys=True),
            "date": date,
        }
        return cls(**fields)

    @property
    def measured(self) -> Measured:
        """Value and interval."""
        return Measured(self.value, self.ci_low, self.ci_high)


COLUMNS = Entry._fields
_CREATE = f"""
BEGIN IMMEDIATE;
PRAGMA user_version = {SCHEMA};
CREATE TABLE IF NOT EXISTS results (id INTEGER PRIMARY KEY, {", ".join(COLUMNS)});
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON results BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON results BEGIN SELECT RAISE(ABORT, 'append only'); END;
COMMIT;
"""


class Ledger:
    """A ledger in a file.

    Raises:
        RunError: the file is of another schema, or no ledger at all.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.connection = sqlite3.connect(self.path, timeout=WAIT)
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            self.connection.close()
            raise RunError(f"{path}: expected a ledger, got {error}. Use a new file.") from error
        except RunError:
            self.connection.close()
            raise

    def _open(self) -> None:
        columns = tuple(row[1] for row in self.connection.execute("PRAGMA table_info(results)"))
        found = self.connection.execute("PRAGMA user_version").fetchone()[0]
        tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and (found != SCHEMA or columns != ("id", *COLUMNS)):
            raise RunError(
                f"{self.path}: expected a ledger of schema {SCHEMA} with the columns {', '.join(COLUMNS)}, got schema "
                f"{found} with {', '.join(columns[1:]) or 'others'}. Use a new file."
            )
        if not tables:
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.executescript(_CREATE)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def add(self, found: EvaluationResult) -> None:
        """Append every value of an evaluation."""
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.append(Entry.of(result, found.provenance, date) for result in found.results)

    def append(self, entries: Iterable[Entry]) -> None:
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
    verdict: Verdict  # b against a


def compare(a: Entry, b: Entry) -> Comparison:
    """b against a: a difference counts when it is larger than its noise.

    Raises:
        ValueError: the rows cannot be compared.
    """
    _need_one_key(a, b)
    verdict = judge(a.measured, b.measured, higher_is_better=a.higher_is_better)
    return Comparison(a.metric, a.value, b.value, verdict)


def compare_history(history: Iterable[Entry], new: Entry) -> Verdict:
    """A new row against the last accepted ones of its metric, oldest first.

    Raises:
        ValueError: the rows cannot be compared.
    """
    old = list(history)
    for entry in old:
        _need_one_key(entry, new)
    return judge_history([entry.measured for entry in old], new.measured, higher_is_better=new.higher_is_better)


def _need_one_key(a: Entry, b: Entry) -> None:
    for field in KEY:
        if getattr(a, field) != getattr(b, field):
            raise ValueError(
                f"compare: expected rows of one {field}, got {getattr(a, field)!r} and {getattr(b, field)!r} for "
                f"{a.metric}. Evaluate both on the same data, with the same n and seed."
            )


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
