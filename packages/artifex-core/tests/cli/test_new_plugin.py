"""`artifex new-plugin` refuses names that cannot be installed, imported or told apart; tests/plugins trains one."""

from __future__ import annotations

import ast
import tomllib

import pytest

from artifex.core.cli.main import main
from artifex.core.cli.new_plugin import FILES, names
from artifex.core.errors import ConfigError


def test_names_follow_from_the_distribution_s():
    words = names("artifex-two-words")
    assert (words["module"], words["title"]) == ("two_words", "TwoWords")
    assert names("array")["title"] == "ArrayModel"  # the template imports an Array


@pytest.mark.parametrize("name", ["Upper", "artifex", "artifex-vae", "artifex-class", "artifex-core", "9lives", "a--b"])
def test_names_that_do_not_work_are_refused(name):
    with pytest.raises(ConfigError, match=r"new-plugin: expected a .*name"):
        names(name)


def test_every_file_is_written_and_parses(tmp_path, capsys):
    assert main(["new-plugin", "artifex-mine", "--dir", str(tmp_path)]) == 0
    root = tmp_path / "artifex-mine"
    assert capsys.readouterr().out.strip() == str(root)
    written = [file for file in root.rglob("*") if file.is_file()]
    assert len(written) == len(FILES)
    for file in written:
        text = file.read_text()
        assert "$" not in text
        if file.suffix == ".py":
            ast.parse(text)
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["artifex"] == {"mine": "artifex.mine._plugin"}


def test_a_folder_in_use_is_left_alone(tmp_path, capsys):
    (tmp_path / "artifex-mine").mkdir()
    (tmp_path / "artifex-mine" / "note").write_text("keep")
    assert main(["new-plugin", "artifex-mine", "--dir", str(tmp_path)]) == 2
    assert [file.name for file in (tmp_path / "artifex-mine").iterdir()] == ["note"]
    assert "in use" in capsys.readouterr().err
