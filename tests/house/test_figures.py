"""The figures of the style sheet: files that fit the head, functions that fit a screen, refusals that help."""

from __future__ import annotations

import ast
import re
import statistics

import pytest

SHAPE = re.compile(r'\b(?:Float|Int|Bool|Shaped|Inexact|Num|Real|Complex|UInt8|Integer|Key)\d*\[[^\]]*"')
REFUSAL = re.compile(r"expected .* got|got .* expected|did you mean|must be .* got", re.I | re.S)


def quantile(values, share):
    """The value below which a share of the values lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def code_lines(function):
    """Lines of a function without its docstring."""
    docstring = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)


@pytest.fixture(scope="module")
def functions(sources):
    """Every function with its file."""
    return [
        (source, node)
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_files_are_short(sources):
    lines = {source.path: source.text.count("\n") for source in sources if not source.is_face}
    assert {path: count for path, count in lines.items() if count > 800} == {}
    assert statistics.median(lines.values()) <= 200
    assert quantile(lines.values(), 0.9) <= 400


def test_faces_are_short(sources):
    faces = {source.path: source.text.count("\n") for source in sources if source.is_face}
    assert {path: count for path, count in faces.items() if count > 80} == {}


def test_functions_are_short(functions):
    lines = [code_lines(function) for _, function in functions]
    assert statistics.median(lines) <= 8
    assert quantile(lines, 0.9) <= 28


def test_nine_functions_in_ten_take_at_most_four_arguments(functions):
    counts = [
        sum(argument.arg not in ("self", "cls") for argument in [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs])
        for _, f in functions
    ]
    assert quantile(counts, 0.9) <= 4


def test_nine_refusals_in_ten_say_what_was_expected_and_what_came(sources):
    calls = [
        node.exc
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    ]
    # Python words its own AttributeError, and a problem collected elsewhere is worded there.
    texts = [
        ast.unparse(call) for call in calls if any(isinstance(arg, ast.Constant | ast.JoinedStr) for arg in call.args)
    ]
    texts = [text for text in texts if not text.startswith("AttributeError")]
    helpful = [text for text in texts if REFUSAL.search(text)]
    assert len(helpful) >= 0.9 * len(texts), [text[:90] for text in texts if text not in helpful]


def test_shapes_are_annotated(sources):
    lines = sum(source.text.count("\n") for source in sources)
    assert 1000 * sum(len(SHAPE.findall(source.text)) for source in sources) / lines >= 15


def test_configs_have_at_most_fifteen_fields(sources):
    large = [
        f"{source.at(node)} {node.name}: {fields}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config")
        if (
            fields := sum(isinstance(line, ast.AnnAssign) and "ClassVar" not in ast.unparse(line) for line in node.body)
        )
        > 15
    ]
    assert large == []
