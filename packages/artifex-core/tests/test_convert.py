"""The converter: what others bend into shape is refused here, all mistakes at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from artifex.core.config import Config
from artifex.core.convert import convert
from artifex.core.errors import ConfigError


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
    ],
)
def test_nothing_is_bent_into_shape(field_name, value, message):
    assert problems({"name": "a", field_name: value}) == (message,)


def test_a_bool_for_text_says_to_quote_it():
    (line,) = problems({"name": False})
    assert line == 'config.name: expected text, got False. Quote it: "no" unquoted means False.'


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


def test_positions_stand_before_the_path():
    (line,) = problems({"name": "a", "on": 3}, positions={"config.on": "run.yaml:7"})
    assert line.startswith("run.yaml:7: config.on: ")


def test_text_of_a_config_s_own_check_is_kept():
    @dataclass(frozen=True, kw_only=True)
    class PickyConfig(Config):
        k: int = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.k < 1:
                raise ValueError(f"PickyConfig: expected 'k' >= 1, got {self.k}.")

    with pytest.raises(ConfigError) as error:
        convert(PickyConfig, {"k": 0})
    assert error.value.problems == ("config: PickyConfig: expected 'k' >= 1, got 0.",)
