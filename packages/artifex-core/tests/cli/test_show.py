"""`artifex show` tells a model as its config class and its paper's page do."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from artifex.core.cli.main import main
from artifex.core.cli.show import fields_of
from artifex.core.config import Config, ModelConfig


@dataclass(frozen=True, kw_only=True)
class PartConfig(Config):
    size: int = 3


@dataclass(frozen=True, kw_only=True)
class WholeConfig(ModelConfig):
    part: PartConfig = PartConfig()
    sizes: tuple[int, ...] = (4, 5)
    name: str


def test_fields_have_type_and_default_as_a_file_holds_them():
    fields = fields_of(WholeConfig)
    assert fields["part"].default == {"type": "part", "size": 3}
    assert (fields["sizes"].default, fields["sizes"].type) == ([4, 5], "tuple[int, ...]")
    assert (fields["name"].required, fields["dtype"].default) == (True, "float32")


def test_a_model_is_shown_with_its_equations_and_as_json(capsys):
    pytest.importorskip("artifex.vae", reason="there must be a model to show")
    assert main(["show", "vae"]) == 0
    printed = capsys.readouterr().out
    assert "ELBO = E_q[log p(x|z)]" in printed
    assert "arXiv:1312.6114 (2013)" in printed.splitlines()[1]
    assert main(["show", "vae", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["schema"], about["name"], about["fields"]["latent_dim"]["default"]) == (1, "vae", 64)


def test_an_unknown_model_is_refused_in_one_line_with_the_nearest_name(capsys):
    pytest.importorskip("artifex.vae", reason="there must be a name near it")
    assert main(["show", "vea"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'vea'" in line
    assert "'vae'" in line
