"""A plugin that was just written is installed, listed, checked and trained, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

CONFIG = """\
model: {type: mine, width: 2}
data: {type: npz, file: points.npz}
trainer: {steps: 300, batch_size: 32}
optimizer: {name: adam, learning_rate: 0.05}
"""


class Clean:
    """A virtual environment that sees this one's packages, and what is installed into it alone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder, folder / "env" / "bin" / "python"
        self.run(sys.executable, "-m", "venv", str(folder / "env"))
        site = next((folder / "env").glob("lib/python*/site-packages"))
        (site / "below.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def run(self, *words: str) -> str:
        """The standard output of a command, which must succeed."""
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(words, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def artifex(self, *words: str) -> str:
        """The output of the program."""
        return self.run(str(self.python), "-m", "_artifex_cli", *words)


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Clean:
    pytest.importorskip("hatchling")
    found = Clean(tmp_path_factory.mktemp("clean"))
    found.artifex("new-plugin", "artifex-mine")
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    found.run(str(found.python), *install, "./artifex-mine")
    return found


def test_it_is_listed_beside_ours(clean):
    models = json.loads(clean.artifex("list-models", "--json"))["models"]
    (mine,) = [model for model in models if model["name"] == "mine"]
    assert (mine["distribution"], mine["capabilities"]) == ("artifex-mine", ["likelihood"])
    assert "vae" in {model["name"] for model in models}


def test_it_keeps_the_contract(clean):
    checks = json.loads(clean.artifex("conformance", "mine", "--json"))["checks"]
    assert {check["status"] for check in checks} == {"passed"}
    assert len(checks) == 15  # thirteen for every model, its likelihood, and that training raises it


def test_it_trains_to_the_mean_and_deviation_of_its_data(clean):
    x = np.random.default_rng(0).normal([1.0, -2.0], [0.5, 2.0], (400, 2)).astype(np.float32)
    np.savez(clean.folder / "points.npz", x=x)
    (clean.folder / "mine.yaml").write_text(CONFIG)
    clean.artifex("train", "mine.yaml", "--out", "run")
    clean.artifex("generate", "run", "-n", "2000", "--out", "samples.npz")
    samples = np.load(clean.folder / "samples.npz")["x"]
    np.testing.assert_allclose(samples.mean(0), x.mean(0), atol=0.2)  # 4 s.e. of 2,000 draws of deviation 2
    np.testing.assert_allclose(samples.std(0), x.std(0), rtol=0.1)


def test_its_own_tests_pass(clean):
    output = clean.run(
        str(clean.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "artifex-mine", "-k", "likelihood"
    )
    assert " passed" in output
