import pytest

from artifex.core.testing.paths import data_folder


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    inner = tmp_path / "main" / "packages"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.delenv("ARTIFEX_DATA", raising=False)
    return tmp_path


@pytest.mark.parametrize("place", ["shared/data", "main/shared/data", "main/packages/shared/data"])
def test_a_folder_in_or_beside_the_checkout_is_found(checkout, place):
    (checkout / place).mkdir(parents=True)
    assert data_folder() == checkout / place


def test_the_variable_comes_first(checkout, monkeypatch):
    (checkout / "shared" / "data").mkdir(parents=True)
    monkeypatch.setenv("ARTIFEX_DATA", str(checkout / "mine"))
    assert data_folder() == checkout / "mine"


def test_without_either_there_is_none(checkout):
    assert data_folder() is None
