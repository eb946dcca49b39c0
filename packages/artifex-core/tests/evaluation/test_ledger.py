"""The ledger: append only, comparable rows only, equal rows give equal bytes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from artifex.core.errors import RunError
from artifex.core.evaluation.ledger import Entry, Ledger, compare, existing


def entry(**changes: object) -> Entry:
    plain = Entry("FD[pixels]", 1, "digits@abc", "pixels", 360, 0, 2.0, 1.5, 2.5, False, "", "VAE", "c", "2026-01-01")
    return plain._replace(**changes)


def test_rows_come_back_as_they_were(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.append([entry(), entry(value=3.0)])
        assert ledger.entries() == [entry(), entry(value=3.0)]
        assert ledger.newest()["FD[pixels]"].value == 3.0


@pytest.mark.parametrize("sql", ["UPDATE results SET value = 0", "DELETE FROM results"])
def test_rows_cannot_be_changed(tmp_path, sql):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.append([entry()])
        with pytest.raises(sqlite3.IntegrityError, match="append only"):
            ledger.connection.execute(sql)


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.5, 1.0, "improved"), (2.6, 3.0, "regressed"), (1.0, 1.6, "same")]
)
def test_a_verdict_needs_intervals_apart(low, high, verdict):
    assert compare(entry(), entry(value=low, ci_low=low, ci_high=high)).verdict == verdict


@pytest.mark.parametrize("field", ["version", "data", "extractor", "n", "seed"])
def test_unlike_rows_name_the_field_that_differs(field):
    with pytest.raises(ValueError, match=f"expected rows of one {field}"):
        compare(entry(), entry(**{field: "other"}))


def test_export_and_import_are_the_same_bytes(tmp_path):
    with Ledger(tmp_path / "a.sqlite") as a, Ledger(tmp_path / "b.sqlite") as b:
        a.append([entry(value=2.0), entry(value=1.0)])
        a.export(tmp_path / "a.jsonl")
        b.read(tmp_path / "a.jsonl")
        b.export(tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_four_processes_write_at_once(tmp_path):
    code = (
        "import sys; from artifex.core.evaluation.ledger import Entry, Ledger\n"
        "with Ledger(sys.argv[1]) as ledger:\n"
        "    for i in range(25): ledger.append([Entry('m', 1, 'd', None, 1, 0, float(i), 0, 0, True, '', '', '', '')])"
    )
    file = str(tmp_path / "l.sqlite")
    writers = [subprocess.Popen([sys.executable, "-c", code, file]) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    with existing(tmp_path / "l.sqlite") as ledger:
        assert sorted(e.value for e in ledger.entries()) == sorted([float(i) for i in range(25)] * 4)


def test_another_schema_or_no_ledger_is_refused(tmp_path):
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("PRAGMA user_version = 9")
    other.commit()
    other.close()
    with pytest.raises(RunError, match="expected a ledger of schema 1, got 9"):
        Ledger(tmp_path / "other.sqlite")
    (tmp_path / "text.sqlite").write_text("no database" * 100)
    with pytest.raises(RunError, match="expected a ledger, got file is not a database"):
        Ledger(tmp_path / "text.sqlite")
    with pytest.raises(RunError, match="Run artifex evaluate first"), existing(tmp_path / "none.sqlite"):
        pass
