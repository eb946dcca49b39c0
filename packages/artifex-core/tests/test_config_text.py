"""Config files: positions, caps, and refusals in one sentence."""

from __future__ import annotations

import pytest

from artifex.core.config_text import read_config, write_config
from artifex.core.errors import ConfigError


def written(tmp_path, text: str, name: str = "run.yaml"):
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def test_three_formats_say_the_same(tmp_path):
    yaml = written(tmp_path, "model: {type: vae, sizes: [1, 2]}\nrate: 1e-4\n")
    toml = written(tmp_path, 'rate = "1e-4"\n[model]\ntype = "vae"\nsizes = [1, 2]\n', "run.toml")
    json = written(tmp_path, '{"model": {"type": "vae", "sizes": [1, 2]}, "rate": "1e-4"}', "run.json")
    assert read_config(yaml).tree == read_config(toml).tree == read_config(json).tree


def test_positions_are_lines_of_the_file(tmp_path):
    file = written(tmp_path, "model:\n  type: vae\n  sizes:\n    - 1\n    - x\n")
    positions = read_config(file).positions
    assert positions["config.model.sizes[1]"] == f"{file}:5"


def test_what_is_written_is_read_again(tmp_path):
    tree = {"model": {"type": "vae", "sizes": [1, 2], "name": "no", "rate": 1e-4}, "data": None}
    write_config(tree, tmp_path / "a.yaml")
    assert read_config(tmp_path / "a.yaml").tree == tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system ['true']\n", "expected plain YAML, got could not determine a constructor"),
        ("a: 1\na: 2\n", "expected each key once, got 'a' twice"),
        ("a: [1\n", "expected plain YAML"),
        ("", "got nothing"),
        ("- 1\n", "got a list or value"),
        ("a: " + "[" * 60 + "]" * 60, "expected at most 50 levels"),
        ("a: &a [1]\nb: [" + "*a, " * 101 + "]\n", "expected at most 100 aliases"),
    ],
)
def test_bad_yaml_is_refused_in_one_sentence(tmp_path, text, message):
    with pytest.raises(ConfigError) as error:
        read_config(written(tmp_path, text))
    assert message in str(error.value)
    assert len(error.value.problems) == 1


def test_an_alias_bomb_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="expected at most 100000 values"):
        read_config(written(tmp_path, "\n".join(lines)))


def test_missing_and_large_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no.yaml: expected a config file, got No such file"):
        read_config(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match="expected at most 1048576 bytes, got 1048580"):
        read_config(written(tmp_path, "a: " + "x" * (2**20 + 1)))
    with pytest.raises(ConfigError, match=r"expected a .yaml, .toml or .json file, got '.txt'"):
        read_config(written(tmp_path, "a: 1", "a.txt"))
