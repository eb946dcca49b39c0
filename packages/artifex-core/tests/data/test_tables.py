import gzip
import logging

import numpy as np
import pytest

from artifex.core.data.tables import csv, npz
from artifex.core.errors import ConfigError

TABLE = "a,b,kind\n1,2,cat\n3,4,dog\n5,6,cat\n7,8,ant\n9,10,dog\n"


@pytest.fixture
def write(tmp_path):
    def file_of(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return file_of


def test_columns_and_classes_are_read(write):
    source = csv("all", file=write(TABLE), target="kind", labels=True)
    assert np.array_equal(source.arrays["x"], [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]])
    assert np.array_equal(source.arrays["y"], [1, 2, 1, 0, 2])
    assert source.spec.n_classes == 3


def test_packed_tables_read_alike(write):
    plain, packed = write("1,2\n3,4\n"), write(gzip.compress(b"1,2\n3,4\n"), "t.csv.gz")
    assert csv("all", file=plain).digest == csv("all", file=packed).digest


@pytest.mark.parametrize(
    ("text", "rows"), [("1,2\n3,4\n", 2), ("p,q\n1,2\n3,4\n", 2), ("\ufeffp,q\r\n1,2\r\n\r\n3,4", 2)]
)
def test_a_header_is_a_first_row_without_numbers(write, text, rows):
    assert np.array_equal(csv("all", file=write(text)).arrays["x"], [[1, 2], [3, 4]][:rows])


def test_a_header_can_be_declared(write):
    assert np.array_equal(csv("all", file=write("2020,2021\n1,2\n"), header=True).arrays["x"], [[1, 2]])


@pytest.mark.parametrize("target", ["y", -1, 2])
def test_a_target_is_named_or_counted(write, target):
    source = csv("all", file=write("a,b,y\n1,2,30\n4,5,60\n"), target=target)
    assert np.array_equal(source.arrays["y"], [30, 60])
    assert source.spec.n_classes is None


def test_classes_that_are_numbers_are_ordered_as_numbers(write):
    source = csv("all", file=write("1,10\n2,9\n3,x\n4,9\n"), target=1, labels=True)
    assert np.array_equal(source.arrays["y"], [1, 0, 2, 0])


@pytest.mark.parametrize(
    ("line", "got"), [("5", "1 cells"), ("5,6,7", "3 cells"), ("5,six", "'six'"), ("5,", "''"), ("nan,6", "'nan'")]
)
def test_a_bad_record_is_named_with_file_and_line(write, line, got):
    with pytest.raises(ConfigError, match=rf"t\.csv:4: expected 2 finite numbers, got {got}"):
        csv(file=write(f"a,b\n1,2\n3,4\n{line}\n7,8\n"))


def test_bad_records_are_skipped_counted_and_reported_when_asked(write, caplog):
    file = write("a,b\n1,2\nx,4\n5,6\n7\n9,1\n")
    with caplog.at_level(logging.WARNING, "artifex.data"):
        train = csv("train", file=file, skip_bad=True, held_out=0.34)
    assert (len(train), train.dropped) == (2, 2)
    assert "left out 2 of 5 records; the first:" in caplog.messages[0]
    assert "t.csv:3: expected 2 finite numbers, got 'x'" in caplog.messages[0]


def test_the_spec_is_that_of_the_whole_table(write):
    file = write("1,0\n2,1\n3,2\n4,3\n")
    specs = {csv(split, file=file, target=1, labels=True).spec.n_classes for split in ("train", "test")}
    assert specs == {4}


def test_a_packed_table_that_is_cut_short_is_refused(write):
    packed = gzip.compress("\n".join(f"{i},{i * i}" for i in range(500)).encode())
    with pytest.raises(ConfigError, match=r"expected a whole gzip file, got one that is cut short"):
        csv(file=write(packed[:400]))


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_table_is_refused(write, text):
    with pytest.raises(ConfigError, match=r"expected at least one record, got an empty file"):
        csv(file=write(text))


def test_a_table_of_a_header_alone_is_refused(write):
    with pytest.raises(ConfigError, match=r"t\.csv: expected at least one example, got an empty data set"):
        csv(file=write("a,b\n"))


def test_text_in_another_encoding_is_refused(write):
    with pytest.raises(ConfigError, match=r"expected CSV text in UTF-8"):
        csv(file=write("é\n1\n".encode("latin-1")))


def test_an_unknown_target_is_named_with_the_nearest(write):
    with pytest.raises(ConfigError, match=r"among the columns a, b, kind, got 'knd'. Did you mean 'kind'"):
        csv(file=write(TABLE), target="knd", labels=True)


def test_arrays_of_an_npz_come_back(tmp_path):
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 3
    np.savez(tmp_path / "t.npz", x=x, y=y)
    train, test = (npz(split, file=str(tmp_path / "t.npz")) for split in ("train", "test"))
    assert (len(train), len(test), test.spec.n_classes) == (8, 2, 3)
    assert np.array_equal(train.arrays["x"][:, 0] / 2 % 3, train.arrays["y"])


def test_rows_of_an_npz_that_are_not_finite_are_named_or_dropped(tmp_path):
    file = str(tmp_path / "t.npz")
    np.savez(file, x=np.array([[1.0], [np.nan], [3.0]]))
    with pytest.raises(ConfigError, match=r"t\.npz: .* in 1 of 3 rows, first in row 1"):
        npz("all", file=file)
    source = npz("all", file=file, skip_bad=True)
    assert np.array_equal(source.arrays["x"], [[1], [3]])
    assert source.dropped == 1


@pytest.mark.parametrize("arrays", [{"x": np.array([{}], object)}, {"data": np.zeros(3)}, {"x": np.array(["a"])}])
def test_an_npz_without_numbers_in_x_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises((ConfigError, TypeError), match=r"t\.npz: expected"):
        npz(file=str(tmp_path / "t.npz"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"not a zip at all"])
def test_what_is_no_npz_is_refused(write, content):
    with pytest.raises(ConfigError, match=r"t\.npz: expected an npz file of plain arrays, got"):
        npz(file=write(content, "t.npz"))


@pytest.mark.parametrize("x", [np.arange(8, dtype=np.uint8) % 4, (np.arange(8) % 4 / 3).astype(np.float32)])
def test_levels_of_an_npz_are_numbers_from_zero_to_one(tmp_path, x):
    np.savez(tmp_path / "t.npz", x=x[:, None])
    source = npz("all", file=str(tmp_path / "t.npz"), levels=4)
    np.testing.assert_array_equal(source.arrays["x"][:4, 0], np.float32([0, 1 / 3, 2 / 3, 1]))
    assert (source.spec.low, source.spec.high, source.spec.levels) == (0, 1, 4)
    with pytest.raises(ConfigError, match=r"t\.npz: expected x in 'levels' >= 2 .* got levels 3"):
        npz(file=str(tmp_path / "t.npz"), levels=3)


def test_rows_of_levels_that_are_not_finite_are_named_or_dropped(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.float32([[0], [np.nan], [1], [0.5]]))
    with pytest.raises(ConfigError, match=r"t\.npz: .* in 1 of 4 rows, first in row 1"):
        npz("all", file=str(tmp_path / "t.npz"), levels=3)
    source = npz("all", file=str(tmp_path / "t.npz"), levels=3, skip_bad=True)
    assert (len(source), source.dropped) == (3, 1)


def test_an_npz_that_is_cut_short_is_refused(tmp_path):
    np.savez(tmp_path / "whole.npz", x=np.arange(1000.0))
    (tmp_path / "t.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:4000])
    with pytest.raises(ConfigError, match=r"t\.npz: expected an npz file"):
        npz(file=str(tmp_path / "t.npz"))
