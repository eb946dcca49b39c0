"""What no source file does."""

from __future__ import annotations

import ast
import re

BROAD = ("Exception", "BaseException")
# Whatever a stranger's plugin raises on import, SystemExit too, must not reach the others.
MAY_CATCH_ALL = ("artifex.core.plugins.loader",)
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|placeholder|for now|simplified|not implemented yet)\b", re.I)
CHECKED_BY_HAND = re.compile(r"\b(?:Magic)?Mock\(|mocker\.|monkeypatch\.setattr")


def found(sources, offends):
    """The places of the nodes that offend."""
    return [
        f"{source.at(node)} {ast.unparse(node)[:80]}"
        for source in sources
        for node in ast.walk(source.tree)
        if offends(node)
    ]


def is_call_of(node, *names):
    """Whether `node` calls one of some plain or dotted names."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) in names


def test_capabilities_are_protocols_not_attributes(sources):
    assert found(sources, lambda node: is_call_of(node, "hasattr")) == []


def test_only_the_plugin_loader_catches_everything(sources):
    def is_broad(node):
        return isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) in BROAD)

    assert found([source for source in sources if source.module not in MAY_CATCH_ALL], is_broad) == []


def test_variables_are_read_by_index(sources):
    def reads_value(node):
        return isinstance(node, ast.Attribute) and re.fullmatch(r"self(\.\w+)+\.value", ast.unparse(node))

    assert found([source for source in sources if "nnx" in source.text], reads_value) == []


def test_nothing_is_pickled_or_evaluated(sources):
    unsafe = ("eval", "exec", "yaml.unsafe_load", "os.system")
    assert found(sources, lambda node: is_call_of(node, *unsafe)) == []
    assert found(sources, lambda node: is_call_of(node, "yaml.load") and "SafeLoader" not in ast.unparse(node)) == []
    assert found(sources, lambda node: isinstance(node, ast.Import) and "pickle" in ast.unparse(node)) == []


def test_no_file_is_unfinished(sources):
    lines = [
        f"{source.path}:{number} {line.strip()}"
        for source in sources
        for number, line in enumerate(source.text.splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert lines == []


def test_results_are_typed(sources):
    def returns_bare_dict(node):
        is_public = isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        returns = ast.unparse(node.returns) if is_public and node.returns else ""
        return returns in ("dict", "dict[str, Any]") and node.name not in ("to_dict", "read_config", "json_schema")

    models = [source for source in sources if source.package != "core"]
    assert found(models, returns_bare_dict) == []


def test_every_module_says_what_it_is(sources):
    assert [source.path for source in sources if not ast.get_docstring(source.tree)] == []


def test_every_public_function_says_what_comes_back(sources):
    silent = [
        f"{source.at(node)} {node.name}"
        for source in sources
        for scope in (source.tree, *(node for node in source.tree.body if isinstance(node, ast.ClassDef)))
        for node in scope.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        if not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_tests_check_the_mathematics_itself(test_sources):
    assert [source.path for source in test_sources if CHECKED_BY_HAND.search(source.text)] == []
