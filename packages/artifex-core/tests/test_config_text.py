"""Config files: positions, caps, and refusals in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from artifex.core.config import Config
from artifex.core.config_text import read_config, write_config
from artifex.core.convert import convert
from artifex.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PartConfig(Config):
    kernel: int = 3
    rate: float = 0.1


@dataclass(frozen=True, kw_only=True)
class FileConfig(Config):
    part: PartConfig = field(default_factory=PartConfig)
    name: str = "a"


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
    assert positions["config.model"] == f"{file}:1"  # the line of the key, not of what it holds


def test_three_mistakes_in_a_file_are_three_lines_with_their_place(tmp_path):
    file = written(tmp_path, "name: no\npart:\n  kernal: 3\n  rate: fast\n")
    text = read_config(file)
    with pytest.raises(ConfigError) as error:
        convert(FileConfig, text.tree, positions=text.positions)
    assert error.value.problems == (
        f'{file}:1: config.name: expected text, got False (bool). Quote it: "no" unquoted means False.',
        f"{file}:3: config.part.kernal: PartConfig has no field 'kernal'; did you mean 'kernel'?",
        f"{file}:4: config.part.rate: expected a float, got 'fast' (str).",
    )


def test_keys_and_dates_stay_text(tmp_path):
    assert read_config(written(tmp_path, "on: 1\n1: 2\nday: 2020-02-30\n")).tree == {
        "on": 1,
        "1": 2,
        "day": "2020-02-30",
    }
    assert read_config(written(tmp_path, "day = 2020-02-03\n", "a.toml")).tree == {"day": "2020-02-03"}


@pytest.mark.parametrize("number", ["010", "1:30", "1:30.5", "0x_", "9" * 1001])
def test_a_number_that_yaml_reads_as_another_is_refused(tmp_path, number):
    with pytest.raises(ConfigError, match=rf"run.yaml:2: expected a number in base ten, got {number[:40]}\."):
        read_config(written(tmp_path, f"a: 1\nb: {number}\n"))


def test_numbers_of_the_usual_forms_are_read(tmp_path):
    text = "[0, -7, 1_000, 0xff, 0b11, 0.5, -0.25, 1.5e+3, .inf]"
    numbers = read_config(written(tmp_path, f"a: {text}\n")).tree["a"]
    assert numbers == [0, -7, 1000, 255, 3, 0.5, -0.25, 1500.0, float("inf")]


def test_sections_of_one_alias_are_two_sections(tmp_path):
    tree = read_config(written(tmp_path, "a: &a {k: [1]}\nb: *a\nc:\n  <<: *a\n  j: 2\n")).tree
    tree["a"]["k"].append(2)
    assert tree == {"a": {"k": [1, 2]}, "b": {"k": [1]}, "c": {"k": [1], "j": 2}}


def test_a_byte_order_mark_and_a_capital_suffix_are_no_mistakes(tmp_path):
    assert read_config(written(tmp_path, '\ufeff{"a": 1}', "a.json")).tree == {"a": 1}
    assert read_config(written(tmp_path, "\ufeffa: 1\n", "A.YAML")).tree == {"a": 1}


def test_what_is_written_is_read_again(tmp_path):
    tree = {"model": {"type": "vae", "sizes": [1, 2], "name": "no", "rate": 1e-4}, "data": None}
    write_config(tree, tmp_path / "a.yaml")
    assert read_config(tmp_path / "a.yaml").tree == tree


def test_a_value_is_a_line_in_its_order_and_a_short_list_one_line(tmp_path):
    write_config({"model": {"type": "vae", "sizes": (1, 2)}, "data": {"name": "é"}}, tmp_path / "a.yaml")
    lines = ["model:", "  type: vae", "  sizes: [1, 2]", "data:", "  name: é", ""]
    assert (tmp_path / "a.yaml").read_text(encoding="utf-8") == "\n".join(lines)


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path):
    write_config({"a": 1}, tmp_path / "a.yaml")
    (tmp_path / "b.yaml").mkdir()
    with pytest.raises(OSError):
        write_config({"a": 2}, tmp_path / "b.yaml")
    with pytest.raises(TypeError):
        write_config({"a": Path("x")}, tmp_path / "a.yaml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.yaml", "b.yaml"]
    assert read_config(tmp_path / "a.yaml").tree == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system ['true']\n", "got the tag '!!python/object/apply:os.system'. Remove"),
        ("a: !!int x\n", "run.yaml:1: expected values without tags, got the tag '!!int'"),
        ("a: 1\nb: {c: 1, c: 2}\n", "run.yaml:2: expected each key once, got 'c' twice"),
        ("a: [1\n", "run.yaml:2: expected YAML, got what it cannot read (while parsing a flow sequence"),
        ("a: 1\n---\nb: 2\n", "run.yaml:2: expected YAML, got what it cannot read (expected a single document"),
        ("? [1]\n: 2\n", "run.yaml:1: expected text as a key, got a list or mapping"),
        ("a: *b\n", "found undefined alias 'b'"),
        ("a: &a [*a]\n", "expected at most 50 levels"),
        ("a: " + "[" * 20000, "expected at most 50 levels"),
        ("0", "got a list or value"),
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


@pytest.mark.slow  # the alias bomb below is its fast sibling
def test_a_file_of_too_many_values_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected at most 100000 values"):
        read_config(written(tmp_path, "a: [" + "x, " * 220000 + "]"))


def test_an_alias_bomb_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="expected at most 100000 values"):
        read_config(written(tmp_path, "\n".join(lines)))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"a": 1, "a": 2}', "expected JSON, got what it cannot read ('a' twice)"),
        ("a.json", '{"a": 1', "expected JSON, got what it cannot read (Expecting"),
        ("a.json", "[" * 100000, "expected at most 50 levels"),
        ("a.json", '{"a": ' + "[" * 60 + "]" * 60 + "}", "expected at most 50 levels"),
        ("a.toml", "a = 1\na = 2", "expected TOML, got what it cannot read (Cannot overwrite a value"),
        ("a.toml", "a = " + "9" * 5000, "expected TOML, got what it cannot read (Exceeds the limit"),
        ("a.toml", "[" + ".".join("a" * 60) + "]", "expected at most 50 levels"),
    ],
)
def test_bad_toml_and_json_are_refused_in_one_sentence(tmp_path, name, text, message):
    with pytest.raises(ConfigError) as error:
        read_config(written(tmp_path, text, name))
    (line,) = error.value.problems
    assert line.startswith(str(tmp_path / name))
    assert message in line


def test_missing_and_large_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no.yaml: expected a config file, got No such file"):
        read_config(tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match="expected at most 1048576 bytes, got 1048580"):
        read_config(written(tmp_path, "a: " + "x" * (2**20 + 1)))
    with pytest.raises(ConfigError, match=r"expected a .yaml, .toml or .json file, got '.txt'"):
        read_config(written(tmp_path, "a: 1", "a.txt"))
