import json
import signal
import sqlite3
import subprocess
import sys

import pytest

from artifex.core.errors import RunError
from artifex.core.evaluation.ledger import KEY, Entry, Ledger, compare, compare_history, existing
from artifex.core.evaluation.result import EvaluationResult, Result

ENTRY = Entry(
    metric="FD[pixels]", version=1, data="digits@abc", extractor="pixels", n=360, params='{"n_samples": 360}', seed=0,
    value=2.0, ci_low=1.5, ci_high=2.5, higher_is_better=False, flags="", model="VAE", config="c", weights="w",
    versions="{}", date="2026-01-01T00:00:00+00:00",
)  # fmt: skip
WRITER = """
import sys
from artifex.core.evaluation.ledger import Entry, Ledger
row = Entry(*[0] * len(Entry._fields))
with Ledger(sys.argv[1]) as ledger:
    for i in range(int(sys.argv[2])):
        ledger.append([row._replace(value=float(i)), row._replace(value=i + 0.5)])
        print(i, flush=True)
"""


def entry(**changes):
    return ENTRY._replace(**changes)


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def test_rows_come_back_as_they_were(ledger):
    rows = [entry(), entry(value=3.0, extractor=None, higher_is_better=True)]
    ledger.append(rows)
    assert ledger.entries() == rows
    assert ledger.newest() == {"FD[pixels]": rows[1]}


def test_a_ledger_that_is_opened_again_still_has_its_rows(tmp_path, ledger):
    ledger.append([entry(value=1.25)])
    with existing(tmp_path / "ledger.sqlite") as again:
        assert [row.value for row in again.entries()] == [1.25]


@pytest.mark.parametrize("sql", ["UPDATE results SET value = 0", "DELETE FROM results"])
def test_rows_cannot_be_changed(ledger, sql):
    ledger.append([entry()])
    with pytest.raises(sqlite3.IntegrityError, match="append only"):
        ledger.connection.execute(sql)
    assert ledger.entries() == [entry()]


def test_an_evaluation_is_kept_with_its_provenance(ledger):
    result = Result("FD[pixels]", 2.0, 1.5, 2.5, 360, "digits@abc", "pixels", False, 1, ("a", "b"), (("n_samples", 9),))
    about = {"model": "VAE", "config": {"beta": 1.0}, "weights": "w", "seed": 7, "versions": {"jax": "0"}}
    ledger.add(EvaluationResult((result,), (), about))
    (row,) = ledger.entries()
    assert row[:10] == ("FD[pixels]", 1, "digits@abc", "pixels", 360, '{"n_samples": 9}', 7, 2.0, 1.5, 2.5)
    assert (row.flags, row.model, row.weights, json.loads(row.versions)) == ("a;b", "VAE", "w", {"jax": "0"})
    assert row.date.endswith("+00:00")


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1.2, "improved"), (2.8, "regressed"), (1.4, "same")],  # half widths of 0.5 and 0.5: beyond 0.71 it counts
)
def test_a_difference_counts_beyond_its_noise(value, verdict):
    assert compare(entry(), entry(value=value, ci_low=value - 0.5, ci_high=value + 0.5)).verdict == verdict


@pytest.mark.parametrize("field", KEY)
def test_unlike_rows_are_refused_with_the_field_that_differs(field):
    with pytest.raises(ValueError, match=rf"compare: expected rows of one {field}, got .* Evaluate both on the same"):
        compare(entry(), entry(**{field: "other"}))
    with pytest.raises(ValueError, match=f"expected rows of one {field}"):
        compare_history([entry(), entry(**{field: "other"})], entry())


def test_only_the_model_may_differ():
    other = entry(model="Other", config="d", weights="v", versions="{...}", date="later")
    assert compare(entry(), other).verdict == "same"


def test_a_row_is_judged_by_the_rows_before_it():
    worse = entry(value=4.0, ci_low=3.5, ci_high=4.5)
    assert compare_history([entry()] * 5, worse) == "regressed"
    assert compare_history([entry()] * 2, worse) == "insufficient"


def test_equal_rows_give_equal_bytes_in_any_order(tmp_path):
    with Ledger(tmp_path / "a.sqlite") as a, Ledger(tmp_path / "b.sqlite") as b:
        a.append([entry(value=2.0), entry(value=0.1 + 0.2)])
        b.append([entry(value=0.1 + 0.2), entry(value=2.0)])
        a.export(tmp_path / "a.jsonl")
        b.export(tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_what_was_exported_is_read_back_bit_for_bit(tmp_path, ledger):
    ledger.append([entry(value=0.1 + 0.2), entry(extractor=None, higher_is_better=True)])
    ledger.export(tmp_path / "out.jsonl")
    with Ledger(tmp_path / "copy.sqlite") as copy:
        copy.read(tmp_path / "out.jsonl")
        assert sorted(copy.entries(), key=repr) == sorted(ledger.entries(), key=repr)


def test_four_processes_write_at_once_and_nothing_is_lost(tmp_path):
    file = tmp_path / "ledger.sqlite"
    command = [sys.executable, "-c", WRITER, str(file), "25"]
    writers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    with existing(file) as ledger:
        assert sorted(row.value for row in ledger.entries()) == sorted([i / 2 for i in range(50)] * 4)


def test_a_writer_that_is_killed_loses_no_row_that_it_wrote(tmp_path):
    file = tmp_path / "ledger.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(file), "100000"], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) == 20:
            writer.send_signal(signal.SIGKILL)
            break
    done = max([20, *(int(line) for line in writer.stdout if line.strip().isdigit())])
    writer.wait()
    with existing(file) as ledger:
        found = [row.value for row in ledger.entries()]
    assert found[: 2 * (done + 1)] == [i / 2 for i in range(2 * (done + 1))]
    assert len(found) % 2 == 0  # the two rows of one call come together or not at all


def test_rows_of_one_call_are_appended_all_or_none(ledger):
    def rows():
        yield entry()
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        ledger.append(rows())
    assert ledger.entries() == []


def test_another_schema_is_refused(tmp_path):
    file = tmp_path / "other.sqlite"
    with sqlite3.connect(file) as other:
        other.execute("PRAGMA user_version = 9")
        other.execute("CREATE TABLE results (id, metric)")
    other.close()
    with pytest.raises(RunError, match=r"expected a ledger of schema 1 with the columns metric, .* got schema 9"):
        Ledger(file)


def test_other_columns_of_the_same_schema_are_refused(tmp_path):
    file = tmp_path / "other.sqlite"
    with sqlite3.connect(file) as other:
        other.execute("PRAGMA user_version = 1")
        other.execute("CREATE TABLE results (id, metric)")
    other.close()
    with pytest.raises(RunError, match=r"got schema 1 with metric\. Use a new file\."):
        Ledger(file)


def test_what_is_no_ledger_is_refused(tmp_path):
    (tmp_path / "text.sqlite").write_text("no database" * 100)
    with pytest.raises(RunError, match="expected a ledger, got file is not a database"):
        Ledger(tmp_path / "text.sqlite")
    with pytest.raises(RunError, match="Run artifex evaluate first"), existing(tmp_path / "none.sqlite"):
        pass
