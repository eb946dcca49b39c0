from typing import Literal

import numpy as np
import pytest

from artifex.core.data.load import choose, load_dataset, options_config, read_dataset
from artifex.core.data.toys import TOYS
from artifex.core.errors import ConfigError, PluginConflict
from artifex.core.plugins.records import TargetRecord


def test_a_name_gives_the_training_split():
    x = load_dataset("two_moons").arrays["x"]
    assert np.array_equal(x, TOYS["two_moons"].sample(10_000, (0, 0)))


def test_options_reach_the_loader():
    source = load_dataset({"type": "rings", "n": 7, "seed": 3}, "test")
    assert np.array_equal(source.arrays["x"], TOYS["rings"].sample(7, (3, 1)))


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(ConfigError) as error:
        load_dataset({"type": "digits", "flatt": True, "binarise": "treshold", "flat": "yes"})
    assert len(error.value.problems) == 3
    unknown, choice, kind = error.value.problems
    assert unknown.startswith("config.data.flatt:")
    assert unknown.endswith("did you mean 'flat'?")
    assert "config.data.binarise: expected one of 'none', 'threshold', 'stochastic', got 'treshold'" in choice
    assert kind == "config.data.flat: expected true or false, got 'yes' (str)."


def test_options_are_checked_before_anything_is_read():
    with pytest.raises(ConfigError, match=r"config.data.file: npz expects a value for 'file', got none"):
        read_dataset({"type": "npz", "seed": 1})
    assert read_dataset({"type": "npz", "file": "not_there.npz"}).keywords == {"file": "not_there.npz"}


def test_positions_come_first_in_each_problem():
    with pytest.raises(ConfigError, match=r"^run\.yaml:4: config\.data\.n: expected an int, got '9' \(str\)"):
        read_dataset({"type": "rings", "n": "9"}, positions={"config.data.n": "run.yaml:4"})


@pytest.mark.parametrize(("name", "hint"), [("digts", " Did you mean 'digits'?"), ("qqq", ""), (None, ""), (3, "")])
def test_an_unknown_data_set_is_refused_with_the_nearest_name(name, hint):
    with pytest.raises(ConfigError) as error:
        load_dataset(name)
    assert str(error.value) == (
        f"config.data: expected the name of a data set, got {name!r}.{hint} Run 'artifex list-datasets' for the list."
    )


def test_a_name_that_two_distributions_claim_must_be_chosen():
    known = [(owner, TargetRecord("moons", f"{owner}:load", "")) for owner in ("dist-a", "dist-b")]
    with pytest.raises(PluginConflict, match=r"got dist-a and dist-b. Write dist-a:moons or dist-b:moons"):
        choose("moons", known)
    assert choose("dist-b:moons", known).target == "dist-b:load"


def test_a_name_with_its_distribution_is_that_data_set():
    assert len(load_dataset({"type": "artifex-core:two_moons", "n": 4})) == 4


def test_a_signature_is_a_config():
    def shapes(split: str = "train", *, n: int, share: float = 0.5, kind: Literal["a", "b"] = "a") -> None: ...

    config = options_config(shapes)(n=3, share=1)
    assert config.to_dict() == {"n": 3, "share": 1.0, "kind": "a"}
