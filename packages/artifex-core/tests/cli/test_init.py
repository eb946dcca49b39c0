"""`artifex init` writes a file that `artifex config check` takes."""

from __future__ import annotations

import pytest

from artifex.core.cli.main import main
from artifex.core.config_text import read_config

pytest.importorskip("artifex.vae", reason="there must be a model to start from")


def test_the_file_holds_every_field_and_is_sound(tmp_path, capsys):
    out = tmp_path / "vae.yaml"
    assert main(["init", "vae", "--out", str(out)]) == 0
    assert main(["config", "check", str(out)]) == 0
    tree = read_config(out).tree
    assert (tree["model"]["type"], tree["model"]["latent_dim"], tree["data"]) == ("vae", 64, "digits")
    assert (tree["trainer"]["steps"], tree["optimizer"]["learning_rate"]) == (1000, 1e-3)
    capsys.readouterr()


def test_a_file_that_exists_stays_as_it_is(tmp_path, capsys):
    out = tmp_path / "vae.yaml"
    out.write_text("mine\n")
    assert main(["init", "vae", "--out", str(out)]) == 2
    assert out.read_text() == "mine\n"
    assert "--out" in capsys.readouterr().err
