"""A model file opens with its mathematics and says where each equation is used."""

from __future__ import annotations

import ast
import importlib
import re

import pytest

from artifex.core.registry import list_models

PAPER = re.compile(r"arXiv:\d{4}\.\d{4,5}|doi[:.]|openreview|(NeurIPS|NIPS|ICML|ICLR|CVPR) \d{4}", re.I)
NUMBERED = re.compile(r"\((\d+)\)")
CITED = re.compile(r"#.*\beqs?\.\s*\(?\d|\(eqs?\. ?\d", re.I)


@pytest.fixture(scope="module")
def model_files(sources, projects):
    """The files that hold a registered model of ours."""
    modules = {model.record.model.partition(":")[0] for model in list_models() if model.distribution in projects}
    files = [source for source in sources if source.module in modules]
    assert len(files) == len(modules)
    return files


def test_the_docstring_numbers_its_equations(model_files):
    assert [s.path for s in model_files if "1" not in NUMBERED.findall(ast.get_docstring(s.tree))] == []


def test_the_docstring_names_its_paper(model_files):
    assert [s.path for s in model_files if not PAPER.search(ast.get_docstring(s.tree))] == []


def test_the_code_cites_an_equation(model_files):
    assert [
        s.path for s in model_files if not CITED.search(s.text.replace(ast.get_docstring(s.tree, clean=False), ""))
    ] == []


def test_one_file_holds_the_models_of_one_paper(projects):
    ours = {(m.record.model.partition(":")[0], m.record.paper) for m in list_models() if m.distribution in projects}
    modules = [module for module, _ in ours]
    assert sorted(modules) == sorted(set(modules))


def test_a_record_tells_the_paper_and_its_year(projects):
    ours = [model.record for model in list_models() if model.distribution in projects]
    assert [record.name for record in ours if not record.paper or not 1980 <= record.year <= 2100] == []


def test_the_summary_of_a_record_fits_a_line(projects):
    ours = [model.record for model in list_models() if model.distribution in projects]
    assert [record.name for record in ours if not 0 < len(record.summary) <= 80 or "\n" in record.summary] == []


def test_record_and_class_agree_on_the_module(projects):
    for model in list_models():
        if model.distribution in projects:
            module, _, name = model.record.model.partition(":")
            assert getattr(importlib.import_module(module), name).__module__ == module
