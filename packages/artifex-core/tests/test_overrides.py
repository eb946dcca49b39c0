"""Overrides, differences and schemas."""

from __future__ import annotations

import pytest

from artifex.core.errors import ConfigError
from artifex.core.overrides import apply_overrides, differences, json_schema
from artifex.core.training.config import OptimizerConfig, TrainerConfig


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("a.b=4", 4),
        ("a.b=1e-4", 1e-4),
        ("a.b=true", True),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b=text", "text"),
        ("a.b=none", None),
    ],
)
def test_a_value_is_a_toml_literal_or_text(setting, value):
    assert apply_overrides({}, [setting]) == {"a": {"b": value}}


def test_setting_a_type_drops_the_fields_of_the_old_one():
    tree = {"model": {"type": "vae", "latent_dim": 8}}
    assert apply_overrides(tree, ["model.type=vq_vae", "model.n_codes=4"]) == {
        "model": {"type": "vq_vae", "n_codes": 4}
    }
    assert tree["model"]["latent_dim"] == 8  # the argument stays as it is


def test_a_bare_name_is_opened():
    assert apply_overrides({"data": "digits"}, ["data.flat=true"]) == {"data": {"type": "digits", "flat": True}}


def test_an_empty_section_is_filled():
    assert apply_overrides({"mesh": None}, ["mesh.x=2"]) == {"mesh": {"x": 2}}


@pytest.mark.parametrize("text", ["2020-01-01", "9" * 5000, "[" * 3000])
def test_what_is_no_plain_value_stays_text(text):
    assert apply_overrides({}, [f"a={text}"]) == {"a": text}


BAD = [("a.b", "expected PATH=VALUE"), ("a..b=1", "expected PATH=VALUE"), ("a.b.c=1", "expected a section at 'a.b'")]


@pytest.mark.parametrize(("setting", "message"), BAD)
def test_bad_settings_are_named(setting, message):
    with pytest.raises(ConfigError, match=message):
        apply_overrides({"a": {"b": 3}}, [setting])


def test_differences_name_each_path():
    a, b = {"x": {"y": 1, "z": 2}, "w": 0}, {"x": {"y": 1, "z": 3}, "v": 0}
    assert [tuple(d) for d in differences(a, b)] == [("v", None, 0), ("w", 0, None), ("x.z", 2, 3)]


def test_schema_of_the_trainer():
    schema = json_schema(TrainerConfig)
    assert schema["properties"]["steps"] == {"type": "integer", "default": 1000}
    assert schema["properties"]["ema_decay"] == {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None}
    assert schema["properties"]["nonfinite"]["enum"] == ["raise", "skip", "off"]
    assert json_schema(OptimizerConfig)["properties"]["betas"]["maxItems"] == 2
    assert schema["additionalProperties"] is False
