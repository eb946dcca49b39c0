import gzip
import hashlib
import struct

import numpy as np
import pytest

from artifex.core.data.idx import idx, mnist, read_idx
from artifex.core.errors import ConfigError
from artifex.core.testing.paths import data_folder

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(256, size=(20, 5, 4), dtype=np.uint8)
LABELS = np.arange(20, dtype=np.uint8) % 10


def as_idx(array, code):
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("mnist")
    for name in ("train", "t10k"):
        (root / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(as_idx(PIXELS, 8)))
        (root / f"{name}-labels.idx1-ubyte").write_bytes(as_idx(LABELS, 8))
    return root


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
def test_every_type_of_the_format_is_read(tmp_path, code, dtype):
    array = RNG.integers(-100, 100, size=(3, 2)).astype(dtype)
    (tmp_path / "f").write_bytes(as_idx(array, code))
    assert np.array_equal(read_idx(tmp_path / "f"), array)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_truncated_file_is_named_with_its_bytes(tmp_path, pack):
    whole = as_idx(PIXELS, 8)
    (tmp_path / "f").write_bytes(pack(whole[:-7]))
    with pytest.raises(ConfigError, match=r"f: expected 416 bytes for shape \(20, 5, 4\), got 409"):
        read_idx(tmp_path / "f")


def test_a_packed_file_that_is_cut_short_is_named_with_its_bytes(tmp_path):
    packed = gzip.compress(as_idx(PIXELS, 8))
    (tmp_path / "f").write_bytes(packed[:300])
    with pytest.raises(ConfigError, match=r"f: expected 416 bytes for shape \(20, 5, 4\), got [123]\d\d\."):
        read_idx(tmp_path / "f")


@pytest.mark.parametrize("content", [b"", b"\x89PNG....", b"\0\0\x07\x01\0\0\0\x01a", b"\0\0\x08\0"])
def test_another_format_is_refused(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(ConfigError, match=r"f: expected an IDX file, which starts with 00 00 type axes, got"):
        read_idx(tmp_path / "f")


def test_a_header_that_is_cut_short_is_refused(tmp_path):
    (tmp_path / "f").write_bytes(as_idx(PIXELS, 8)[:9])
    with pytest.raises(ConfigError, match=r"f: expected 16 bytes .*, got 9"):
        read_idx(tmp_path / "f")


def test_pixels_are_scaled_by_255_and_labels_stay(folder):
    source = mnist("test", folder=str(folder))
    assert np.allclose(source.arrays["x"][..., 0] * 255, PIXELS, atol=1e-4)
    assert np.array_equal(source.arrays["y"], LABELS)
    assert (source.spec.shape, source.spec.levels) == ((5, 4, 1), 256)


def test_idx_splits_by_seed(folder):
    files = {"images": str(folder / "train-images-idx3-ubyte.gz"), "labels": str(folder / "train-labels.idx1-ubyte")}
    train, test = (idx(split, **files) for split in ("train", "test"))
    assert (len(train), len(test)) == (16, 4)
    together = np.concatenate([train.arrays["y"], test.arrays["y"]])
    assert np.array_equal(np.bincount(together), np.full(10, 2))


def test_pictures_without_labels_are_a_source_without_y(folder):
    source = idx("all", images=str(folder / "train-images-idx3-ubyte.gz"))
    assert list(source.arrays) == ["x"]
    assert source.spec.n_classes is None


def test_labels_of_another_set_are_refused(folder, tmp_path):
    (tmp_path / "labels").write_bytes(as_idx(LABELS[:19], 8))
    with pytest.raises(ConfigError, match=r"labels: expected 20 labels from 0 to 9, .* got shape \[19\]"):
        idx(images=str(folder / "train-images-idx3-ubyte.gz"), labels=str(tmp_path / "labels"))


def test_labels_in_place_of_pictures_are_refused(folder):
    with pytest.raises(ConfigError, match=r"expected grey pictures \[row, height, width\] of uint8, got \[20\]"):
        idx(images=str(folder / "train-labels.idx1-ubyte"))


def test_an_empty_folder_is_named_with_the_way_out(tmp_path):
    with pytest.raises(
        ConfigError, match=r"expected the file train-images-idx3-ubyte .* data.folder .* ARTIFEX_DATA"
    ) as e:
        mnist(folder=str(tmp_path))
    assert str(tmp_path) in str(e.value)


def test_without_a_data_folder_the_message_says_how_to_give_one(monkeypatch, tmp_path):
    monkeypatch.delenv("ARTIFEX_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"mnist: expected a folder .* got none. Set data.folder, or .* ARTIFEX_DATA"):
        mnist()


def test_mnist_has_no_split_all(folder):
    with pytest.raises(ConfigError, match=r"mnist: expected the split train or test, got 'all'"):
        mnist("all", folder=str(folder))


@pytest.mark.data
def test_real_mnist_is_the_published_one():
    root = data_folder()
    if root is None or not (root / "mnist").is_dir():
        pytest.skip("no mnist in the data folder")
    test = mnist("test")
    assert np.array_equal(test.arrays["y"][:5], [7, 2, 1, 0, 4])
    pixels = np.rint(test.arrays["x"] * 255).astype(np.uint8)[..., 0]
    # MD5 of the uncompressed file, as published with it
    assert hashlib.md5(as_idx(pixels, 8)).hexdigest() == "2646ac647ad5339dbf082846283269ea"


@pytest.mark.data
def test_real_clothes_load_by_their_two_files():
    root = data_folder()
    if root is None or not (root / "fashion_mnist_900").is_dir():
        pytest.skip("no fashion_mnist_900 in the data folder")
    stem = root / "fashion_mnist_900" / "sprite900"
    source = idx("all", images=f"{stem}-images-idx3-ubyte.gz", labels=f"{stem}-labels-idx1-ubyte.gz")
    assert np.array_equal(np.bincount(source.arrays["y"]), np.full(10, 90))
    assert source.spec.shape == (28, 28, 1)
