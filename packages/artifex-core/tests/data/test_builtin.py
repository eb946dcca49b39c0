import inspect
import subprocess
import sys

import pytest

from artifex.core.data.builtin import DATASETS
from artifex.core.data.toys import TOYS
from artifex.core.registry import load_target

LIGHT = "import sys, artifex.core.data.builtin; print([m for m in ('jax', 'numpy') if m in sys.modules])"
LAZY = (
    "import sys, importlib; [importlib.import_module('artifex.core.data.' + m) for m in "
    "('digits', 'idx', 'image_folder', 'load', 'resident', 'sequence', 'stream', 'tables', 'toys')]; "
    "print([m for m in ('sklearn', 'scipy', 'grain', 'PIL', 'yaml') if m in sys.modules])"
)


@pytest.mark.parametrize("record", DATASETS, ids=lambda record: record.name)
def test_every_loader_takes_a_split_first_and_options_by_name(record):
    first, *options = inspect.signature(load_target(record.target)).parameters.values()
    assert (first.name, first.default) == ("split", "train")
    assert {option.kind for option in options} == {inspect.Parameter.KEYWORD_ONLY}


def test_every_toy_is_a_data_set():
    names = [record.name for record in DATASETS]
    assert set(TOYS) < set(names)
    assert len(names) == len(set(names)) == 13


@pytest.mark.parametrize("code", [LIGHT, LAZY])
def test_importing_costs_no_heavy_package(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
