import numpy as np
import pytest
from PIL import Image

from artifex.core.data.image_folder import image_folder, read_picture
from artifex.core.errors import ConfigError

LEVELS = {"cat": 51, "dog": 204}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("animals")
    for name, level in LEVELS.items():
        (root / name).mkdir()
        for i in range(5):
            Image.new("RGB", (10 + i, 12), (level, 0, 255)).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def broken(folder, tmp_path):
    for name in LEVELS:
        (tmp_path / name).mkdir()
        for file in (folder / name).iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "dog" / "2.png").write_bytes((folder / "dog" / "2.png").read_bytes()[:40])
    return tmp_path


def test_pixels_are_bytes_over_255_and_classes_are_folders(folder):
    source = image_folder("all", folder=str(folder), size=4)
    assert np.array_equal(source.arrays["y"], [0] * 5 + [1] * 5)
    assert np.allclose(source.arrays["x"][0], [0.2, 0, 1])
    assert np.allclose(source.arrays["x"][9], [0.8, 0, 1])
    assert (source.spec.shape, source.spec.n_classes, source.spec.levels) == ((4, 4, 3), 2, 256)


@pytest.mark.parametrize(("channels", "first"), [(1, [44 / 255]), (4, [0.2, 0, 1, 1])])
def test_channels_are_grey_or_colour_with_opacity(folder, channels, first):
    # ITU-R 601 luma of (51, 0, 255): 0.299 · 51 + 0.114 · 255 = 44.3
    x = image_folder("all", folder=str(folder), size=2, channels=channels).arrays["x"]
    assert np.allclose(x[0, 0, 0], first)


def test_splits_share_no_file(folder):
    train, test = (image_folder(split, folder=str(folder), size=2) for split in ("train", "test"))
    assert (len(train), len(test)) == (8, 2)
    assert np.array_equal(np.bincount(np.concatenate([train.arrays["y"], test.arrays["y"]])), [5, 5])


def test_pictures_read_later_are_those_read_now(folder):
    now, later = (image_folder(folder=str(folder), size=3, in_memory=m) for m in (True, False))
    rows = np.array([7, 0, 3])
    assert len(later) == 8
    assert np.array_equal(later.take(rows)["x"], now.take(rows)["x"])
    assert np.array_equal(later.take(rows)["y"], now.take(rows)["y"])


def test_a_bad_picture_is_named(broken):
    with pytest.raises(ConfigError, match=r"dog/2\.png: expected a picture, got"):
        image_folder("all", folder=str(broken))


def test_bad_pictures_are_skipped_counted_and_reported_when_asked(broken, caplog):
    source = image_folder("all", folder=str(broken), skip_bad=True)
    assert source.dropped == 1
    assert np.array_equal(np.bincount(source.arrays["y"]), [5, 4])
    assert "left out 1 of 10 records" in caplog.text


def test_a_folder_of_bad_pictures_alone_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"expected at least one example, got an empty data set"):
        image_folder("all", folder=str(tmp_path), skip_bad=True)


def test_pictures_without_sub_folders_have_no_classes(folder):
    source = image_folder("all", folder=str(folder / "cat"), size=2)
    assert list(source.arrays) == ["x"]
    assert source.spec.n_classes is None


def test_a_picture_outside_every_class_is_named(broken):
    (broken / "stray.png").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"expected every picture in the sub-folder of its class, got .*stray\.png"):
        image_folder(folder=str(broken))


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected pictures .* got none. Check data.folder"):
        image_folder(folder=str(tmp_path))


def test_more_than_eight_bits_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ConfigError, match=r"deep\.png: expected 8 bits a channel, got mode I"):
        read_picture(tmp_path / "deep.png", 4, 1)
