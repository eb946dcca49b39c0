import gzip

import pytest

from artifex.core.data.packed import read_packed, unpack
from artifex.core.errors import ConfigError

TEXT = b"0123456789" * 100


WRITTEN = [TEXT, gzip.compress(TEXT), gzip.compress(TEXT[:300]) + gzip.compress(TEXT[300:])]


@pytest.mark.parametrize("written", WRITTEN, ids=["plain", "packed", "joined"])  # gzip writes the time into its header
def test_plain_packed_and_joined_files_read_alike(tmp_path, written):
    (tmp_path / "f").write_bytes(written)
    assert read_packed(tmp_path / "f") == (TEXT, True)


def test_a_packed_file_that_is_cut_short_is_not_whole():
    packed = gzip.compress(TEXT)
    content = unpack(packed[: len(packed) - 12])
    assert not content.whole
    assert TEXT.startswith(content.data)


def test_a_flipped_byte_is_found_by_the_checksum(tmp_path):
    packed = bytearray(gzip.compress(TEXT))
    packed[-6] ^= 1
    (tmp_path / "f").write_bytes(packed)
    with pytest.raises(ConfigError, match=r"f: expected a data file, got .*incorrect"):
        read_packed(tmp_path / "f")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere: expected a data file, got .*No such file"):
        read_packed(tmp_path / "nowhere")
