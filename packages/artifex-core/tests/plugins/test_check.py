"""A record that does not fit is named before anything trusts it."""

import typing

import pytest

from artifex.core.plugins import hookspecs
from artifex.core.plugins.check import problem_of
from artifex.core.plugins.hookspecs import RECORD_TYPES
from artifex.core.plugins.records import CommandRecord, ModelRecord, ShardingRule, TargetRecord

MODEL = ModelRecord("mine", "mine", "a.b:C", "a.b:CConfig", "one line", "a paper", 2020, "a.b:example")


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        ("models", MODEL),
        ("datasets", TargetRecord("d", "a:b", "one line")),
        ("commands", CommandRecord("c", "a.b:run", "one line")),
        ("sharding_rules", ShardingRule("kernel", ("fsdp", None))),
    ],
)
def test_sound_records_have_no_problem(kind, record):
    assert problem_of(kind, record) == ""


@pytest.mark.parametrize(
    ("kind", "record", "told"),
    [
        ("models", MODEL._replace(name="Mine"), "expected a name of [a-z][a-z0-9_]*, got 'Mine'."),
        ("models", MODEL._replace(name=3), "got 3."),
        ("models", MODEL._replace(name="two words"), "got 'two words'."),
        ("models", MODEL._replace(model="a.b.C"), "expected 'model' as 'module:object', got 'a.b.C'."),
        ("models", MODEL._replace(config=dict), "expected 'config' as 'module:object', got <class 'dict'>."),
        ("models", MODEL._replace(example=""), "expected 'example' as 'module:object', got ''."),
        ("models", MODEL._replace(modalities="image"), "expected 'modalities' as a tuple, got 'image'."),
        ("models", TargetRecord("d", "a:b", ""), "expected records of type ModelRecord, got TargetRecord("),
        ("metrics", MODEL, "expected records of type TargetRecord, got ModelRecord("),
        ("datasets", TargetRecord("d", "a b:c", ""), "expected 'target' as 'module:object', got 'a b:c'."),
        ("sharding_rules", ShardingRule("kernel", "fsdp"), "expected 'spec' as a tuple, got 'fsdp'."),
    ],
)
def test_the_problem_names_what_was_expected_and_what_came(kind, record, told):
    assert told in problem_of(kind, record)


def test_every_hook_has_its_record_type():
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("register_")}
    returned = {name: typing.get_args(typing.get_type_hints(hook)["return"])[0] for name, hook in hooks.items()}
    assert returned == {f"register_{kind}": cls for kind, cls in RECORD_TYPES.items()}
    assert len(returned) == 11
