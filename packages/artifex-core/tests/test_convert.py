"""The converter: what others bend into shape is refused here, all mistakes at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifex.core.config import Config, ModelConfig
from artifex.core.convert import convert
from artifex.core.errors import ConfigError
from artifex.core.registry import register_model, registry
from artifex.core.testing.distributions import plugin_source, pretend_install, run_program


class Shape(Enum):
    ROUND = "round"
    FLAT = 2


@dataclass(frozen=True, kw_only=True)
class SmallConfig(Config):
    kernel: int = 3
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class LargeConfig(Config):
    depth: int = 2
    label: str = "a"


@dataclass(frozen=True, kw_only=True)
class OuterConfig(Config):
    name: str  # required
    part: SmallConfig | LargeConfig = field(default_factory=SmallConfig)
    sizes: tuple[int, ...] = ()
    pair: tuple[int, int] = (1, 2)
    rate: float | None = None
    on: bool = False
    answer: Literal["no", "yes"] = "no"
    grid: tuple[tuple[int, int], ...] = ()
    shape: Shape = Shape.ROUND
    folder: Path | None = None
    slope: SmallConfig | float = 0.5
    weights: tuple[tuple[str, float], ...] = ()
    limit: int | str = 0


@dataclass(frozen=True, kw_only=True)
class ToyConfig(ModelConfig):
    size: int = 2


@dataclass(frozen=True, kw_only=True)
class HolderConfig(Config):
    model: ModelConfig | None = None
    others: tuple[ModelConfig, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PickyConfig(Config):
    k: int = 1
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise ValueError(f"PickyConfig: expected 'k' >= 1, got {self.k}.")
        if self.low >= self.high:
            raise ValueError(f"PickyConfig: expected an interval, got [{self.low}, {self.high}].")


@pytest.fixture
def toy():
    register_model("toy", config=ToyConfig)(type("Toy", (), {}))
    yield
    del registry.in_process["toy"]


def problems(tree: object, **kwargs: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        convert(OuterConfig, tree, **kwargs)
    return error.value.problems


@pytest.mark.parametrize(
    ("field_name", "value", "message"),
    [
        ("sizes", [3.7], "config.sizes[0]: expected an int, got 3.7 (float)."),
        ("sizes", ["10"], "config.sizes[0]: expected an int, got '10' (str)."),
        ("sizes", [True], "config.sizes[0]: expected an int, got True (bool)."),
        ("sizes", 3, "config.sizes: expected a list, got 3 (int). Write [...]."),
        ("pair", [1, 2, 3], "config.pair: expected 2 values, got 3: [1, 2, 3] (list)."),
        ("rate", "fast", "config.rate: expected a float, got 'fast' (str)."),
        ("on", 1, "config.on: expected true or false, got 1 (int)."),
        ("on", "true", "config.on: expected true or false, got 'true' (str)."),
        ("rate", True, "config.rate: expected a float, got True (bool)."),
        ("rate", "١", "config.rate: expected a float, got '١' (str)."),
        ("grid", [[1, 2], [3, 4.0]], "config.grid[1][1]: expected an int, got 4.0 (float)."),
        ("grid", {"a": 1}, "config.grid[0][0]: expected an int, got 'a' (str)."),
        ("sizes", {"a": 1}, "config.sizes: expected a list, got {'a': 1} (dict). Write [...]."),
        ("sizes", "12", "config.sizes: expected a list, got '12' (str). Write [...]."),
        ("shape", "2", "config.shape: expected one of 'round', 2, got '2' (str). Did you mean '2'?"),
        ("folder", 3, "config.folder: expected a path, got 3 (int)."),
        ("slope", "x", "config.slope: expected SmallConfig or a float, got 'x' (str)."),
        ("limit", 0.5, "config.limit: expected an int or text, got 0.5 (float)."),
        (
            "part",
            [1],
            "config.part: expected SmallConfig or LargeConfig, got [1] (list). Give a mapping of its fields.",
        ),
        ("part", {"type": [1]}, "config.part.type: expected one of ['large', 'small'], got [1]."),
    ],
)
def test_nothing_is_bent_into_shape(field_name, value, message):
    assert problems({"name": "a", field_name: value}) == (message,)


def test_a_bool_for_text_says_to_quote_it():
    assert problems({"name": False, "answer": True}) == (
        'config.name: expected text, got False (bool). Quote it: "no" unquoted means False.',
        "config.answer: expected one of 'no', 'yes', got True (bool). Quote it: \"yes\" unquoted means True.",
    )


def test_what_fits_is_taken_as_it_is():
    tree = {"name": "a", "grid": [[1, 2]], "shape": 2, "folder": "x/y", "answer": "yes", "limit": "none"}
    config = convert(OuterConfig, tree | {"slope": {"kernel": 7}, "weights": {"b": 1, "a": "2e0"}})
    assert (config.grid, config.shape, config.folder) == (((1, 2),), Shape.FLAT, Path("x/y"))
    assert (config.answer, config.limit, config.slope.kernel) == ("yes", "none", 7)
    assert config.weights == (("a", 2.0), ("b", 1.0))
    assert convert(OuterConfig, {"name": "a", "slope": 2}).slope == 2.0


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
                    lambda inner: st.lists(inner, max_size=2)
                    | st.dictionaries(st.sampled_from(["type", "name", "part", "sizes", "slope", "k"]), inner),
                    max_leaves=6))  # fmt: skip
def test_whatever_a_file_holds_gives_a_config_or_lines_with_paths(tree):
    lines: tuple[str, ...] = ()
    try:
        config = convert(OuterConfig, tree)
        assert OuterConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()
    except ConfigError as error:
        lines = error.problems
    assert [line for line in lines if not line.startswith("config")] == []


@pytest.mark.parametrize(("value", "number"), [("1e-4", 1e-4), ("-.5E3", -500.0), (3, 3.0), (2.5, 2.5), (None, None)])
def test_what_reads_as_a_float_fills_a_float(value, number):
    assert convert(OuterConfig, {"name": "a", "rate": value}).rate == number


def test_three_mistakes_give_three_lines():
    lines = problems({"nam": "a", "part": {"kernal": 3}, "pair": "x"})
    assert lines == (
        "config.nam: OuterConfig has no field 'nam'; did you mean 'name'?",
        "config.part.kernal: SmallConfig has no field 'kernal'; did you mean 'kernel'?",
        "config.pair: expected a list, got 'x' (str). Write [...].",
        "config.name: OuterConfig expects a value for 'name', got none. Add it.",
    )


def test_one_typo_in_a_union_gives_one_line():
    assert problems({"name": "a", "part": {"type": "large", "dept": 3}}) == (
        "config.part.dept: LargeConfig has no field 'dept'; did you mean 'depth'?",
    )


def test_an_unknown_type_names_the_known_ones():
    (line,) = problems({"name": "a", "part": {"type": "larg"}})
    assert line == "config.part.type: expected one of ['large', 'small'], got 'larg'. Did you mean 'large'?"


def test_a_bare_type_is_its_defaults_and_no_type_is_the_first():
    assert convert(OuterConfig, {"name": "a", "part": "large"}).part == LargeConfig()
    assert convert(OuterConfig, {"name": "a", "part": {"kernel": 5}}).part == SmallConfig(kernel=5)


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ({"on": 3}, "run.yaml:7: config.on: "),
        ({"sizes": [1, "x"]}, "run.yaml:4: config.sizes[1]: "),
        ({"pair": [1, "x"]}, "run.yaml:2: config.pair[1]: "),
        ({"part": {"type": "large", "depth": "x"}}, "run.yaml:1: config.part.depth: "),
    ],
)
def test_the_nearest_known_position_stands_before_the_path(tree, line):
    lines = {"config": 1, "config.on": 7, "config.sizes[1]": 4, "config.pair": 2}
    (problem,) = problems({"name": "a"} | tree, positions={path: f"run.yaml:{n}" for path, n in lines.items()})
    assert problem.startswith(line)


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        ({"k": 0}, "config.k: PickyConfig: expected 'k' >= 1, got 0."),
        ({"low": 2}, "config: PickyConfig: expected an interval, got [2.0, 1.0]."),
    ],
)
def test_the_text_of_a_check_is_kept_at_the_field_that_it_names(tree, line):
    with pytest.raises(ConfigError) as error:
        convert(PickyConfig, tree)
    assert error.value.problems == (line,)


def test_a_bad_value_is_reported_beside_an_unknown_field():
    with pytest.raises(ConfigError) as error:
        convert(PickyConfig, {"k": 0, "hihg": 2})
    assert error.value.problems == (
        "config.hihg: PickyConfig has no field 'hihg'; did you mean 'high'?",
        "config.k: PickyConfig: expected 'k' >= 1, got 0.",
    )


@pytest.mark.usefixtures("toy")
def test_a_model_s_type_is_looked_up_in_the_registry():
    config = convert(HolderConfig, {"model": {"type": "toy", "size": 5}, "others": [{"type": "toy"}]})
    assert (config.model, config.others) == (ToyConfig(size=5), (ToyConfig(size=2),))
    assert config.to_dict()["model"] == {"type": "toy", "dtype": "float32", "size": 5}
    assert HolderConfig.from_dict(config.to_dict()) == config


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("model", "start", "end"),
    [
        ({"type": "toyy"}, "config.model.type: create_model: expected the name of an", "for the list."),
        ({"type": "toy", "sise": 3}, "config.model.sise: ToyConfig has no field 'sise'", "did you mean 'size'?"),
        ({"size": 3}, "config.model: expected a model as a mapping with its 'type', got {'size': 3}", "for the names."),
        ("toy", "config.model: expected a model as a mapping with its 'type', got 'toy'", "for the names."),
    ],
)
def test_a_model_that_cannot_be_is_one_line(model, start, end):
    with pytest.raises(ConfigError) as error:
        convert(HolderConfig, {"model": model})
    (line,) = error.value.problems
    assert line.startswith(start)
    assert line.endswith(end)


def test_a_model_that_two_distributions_claim_is_refused_with_the_exit_code_of_a_conflict(tmp_path):
    for distribution in ("one", "two"):
        pretend_install(tmp_path, distribution, plugin_source("twin"))
    (tmp_path / "run.yaml").write_text("model: {type: twin}\n", encoding="utf-8")
    done = run_program("config", "check", str(tmp_path / "run.yaml"), site=tmp_path)
    assert done.returncode == 3
    assert "expected one distribution with a model 'twin', got one and two. Write one:twin or two:twin." in done.stderr
