"""Core knows no family, families know only core, and nothing goes round in a circle."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter

from artifex.core.registry import FIRST_PARTY, list_models

FAMILIES = ("vae", "gan", "diffusion", "flow", "ar", "ebm", "geometric", "modalities", "scaling")
FAMILY_NAME = re.compile(rf"\bartifex[-._]({'|'.join(FAMILIES)})\b|\bartifex-core\[({'|'.join(FAMILIES)})\]")
FORBIDDEN = ("torch", "tensorflow", "tensorflow_probability", "tf_keras", "pytest")
TABLE = "FIRST_PARTY"  # what to install for a name of ours whose distribution is missing


def test_core_imports_no_family(imports):
    offences = [
        f"{source.at(node)} imports {name}"
        for source, name, node in imports
        if source.package == "core" and name.startswith("artifex.") and name.split(".")[1] != "core"
    ]
    assert offences == []


def test_core_names_no_family_outside_the_table_of_first_party_names(sources):
    offences = []
    for source in (source for source in sources if source.package == "core"):
        tables = [
            node
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Assign) and TABLE in ast.unparse(node.targets)
        ]
        allowed = {id(inner) for table in tables for inner in ast.walk(table)}
        for node in ast.walk(source.tree):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if id(node) not in allowed and FAMILY_NAME.search(text):
                offences.append(f"{source.at(node)} names {FAMILY_NAME.search(text).group()}")
    assert offences == []


def test_the_table_of_first_party_names_is_what_the_families_register(projects):
    registered = {(model.distribution, model.name) for model in list_models()}
    ours = {(distribution, name) for distribution, names in FIRST_PARTY.items() for name in names}
    assert ours == {(distribution, name) for distribution, name in registered if distribution in projects}


def test_families_import_only_core_and_themselves(imports):
    offences = [
        f"{source.at(node)} imports {name}"
        for source, name, node in imports
        if name.startswith("artifex.") and name.split(".")[1] not in ("core", source.package)
    ]
    assert offences == []


def test_no_circles(sources, imports):
    modules = {source.module for source in sources}
    graph = {module: set() for module in modules}
    for source, name, _ in imports:
        if name in modules and name != source.module:
            graph[source.module].add(name)
    for module, targets in graph.items():  # a submodule imports its own face, which imports it back lazily
        targets.discard(module.rpartition(".")[0])
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None
    assert len(order) == len(modules)


def test_first_party_imports_stand_at_the_top_of_the_file(sources):
    offences = [
        f"{source.at(node)} {ast.unparse(node)}"
        for source in sources
        if not source.is_face and source.module != "_artifex_cli"  # the guard looks before it imports
        for function in ast.walk(source.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom) and re.search(r"\bartifex\b", ast.unparse(node))
    ]
    assert offences == []


def test_no_source_imports_another_framework_or_the_test_runner(imports):
    offences = [
        f"{source.at(node)} imports {name}"
        for source, name, node in imports
        if name.split(".")[0] in FORBIDDEN and ".testing" not in source.module
    ]
    assert offences == []
