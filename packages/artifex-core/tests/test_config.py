"""Configs: freezing, checking, tags, and the way to plain values and back."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifex.core.config import BaseConfig, Config
from artifex.core.errors import ConfigError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class DenseConfig(Config):
    widths: tuple[int, ...] = (4,)


@dataclass(frozen=True, kw_only=True)
class ConvPartConfig(Config, tag="conv"):
    kernel: int = 3
    stride: tuple[int, int] = (1, 1)


@dataclass(frozen=True, kw_only=True)
class NetConfig(BaseConfig):
    part: DenseConfig | ConvPartConfig = field(default_factory=DenseConfig)
    parts: tuple[DenseConfig | ConvPartConfig, ...] = ()
    rate: float = 0.1
    size: int = 3
    name: str = "net"
    mode: Literal["fast", "slow"] = "fast"
    colour: Colour = Colour.RED
    path: Path | None = None
    on: bool = False
    weights: tuple[tuple[str, float], ...] = ()
    anything: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rate < 0:
            raise ValueError(f"NetConfig: expected 'rate' >= 0, got {self.rate}. Use 0 to switch it off.")


def test_lists_become_tuples_and_configs_can_be_hashed():
    config = NetConfig(part=ConvPartConfig(stride=[2, 2]), parts=[DenseConfig(widths=[1, 2])])
    assert config.part.stride == (2, 2)
    assert config.parts[0].widths == (1, 2)
    assert hash(config) == hash(NetConfig(part=ConvPartConfig(stride=(2, 2)), parts=(DenseConfig(widths=(1, 2)),)))


def test_a_config_is_frozen():
    with pytest.raises(FrozenInstanceError):
        NetConfig().rate = 1.0


@pytest.mark.parametrize(("name", "tag"), [("VAEConfig", "vae"), ("BetaVAEConfig", "beta_vae"), ("MLP2Config", "mlp2")])
def test_a_tag_is_the_name_in_snake_case(name, tag):
    assert dataclass(frozen=True, kw_only=True)(type(name, (Config,), {})).tag == tag


def test_constructor_checks_types_like_a_file():
    with pytest.raises(ConfigError, match=r"NetConfig.size: expected an int, got 3.7 \(float\)"):
        NetConfig(size=3.7)


def test_constructor_takes_a_mapping_for_a_part():
    assert NetConfig(part={"type": "conv", "kernel": 5}).part == ConvPartConfig(kernel=5)


def test_a_constructor_shows_the_value_that_was_given():
    with pytest.raises(ConfigError) as error:
        NetConfig(name={"a": 1}, size="4")
    assert error.value.problems == (
        "NetConfig.size: expected an int, got '4' (str).",
        "NetConfig.name: expected text, got {'a': 1} (dict).",
    )


def test_mappings_become_sorted_pairs_whose_order_does_not_matter():
    config = NetConfig(weights={"b": 1, "a": 2}, anything={"q": {"y": [1], "x": 2}, 1: None})
    assert config.weights == (("a", 2.0), ("b", 1.0))
    assert config.anything == ((1, None), ("q", (("x", 2), ("y", (1,)))))
    assert hash(config) == hash(NetConfig(weights={"a": 2, "b": 1}, anything={1: None, "q": {"x": 2, "y": [1]}}))


def test_an_overflowing_int_fills_no_float():
    with pytest.raises(ConfigError, match=r"NetConfig.rate: expected a float, got 1000.*which is too large for one"):
        NetConfig(rate=10**400)


def test_a_field_that_could_not_be_hashed_is_refused_with_its_annotation():
    @dataclass(frozen=True, kw_only=True)
    class ListConfig(Config):
        sizes: list[int] = field(default_factory=list)

    with pytest.raises(ConfigError, match=r"got one annotated list\[int\]. Annotate it tuple"):
        ListConfig()


def test_a_subclass_without_the_decorator_is_refused():
    class ForgottenConfig(Config):
        shared: ClassVar[int] = 1
        size: int = 3

    with pytest.raises(TypeError, match="ForgottenConfig: expected a dataclass with a field 'size', got a plain"):
        ForgottenConfig.from_dict({"size": 4})


def test_the_dtype_is_one_of_four():
    with pytest.raises(ConfigError, match=r"NetConfig.dtype: expected one of 'float32'.*Did you mean 'float32'"):
        NetConfig(dtype="float3")
    assert NetConfig(dtype="bfloat16").dtype == "bfloat16"


def test_replace_checks_again():
    with pytest.raises(ValueError, match=r"expected 'rate' >= 0, got -1\.0"):
        NetConfig().replace(rate=-1)


def test_plain_values_carry_the_type_of_a_part():
    tree = NetConfig(part=ConvPartConfig(), colour=Colour.BLUE, path=Path("a/b")).to_dict()
    assert tree["part"] == {"type": "conv", "kernel": 3, "stride": [1, 1]}
    assert (tree["colour"], tree["path"], tree["dtype"]) == ("blue", "a/b", "float32")


parts = st.one_of(
    st.builds(DenseConfig, widths=st.lists(st.integers(1, 9), max_size=3).map(tuple)),
    st.builds(ConvPartConfig, kernel=st.integers(1, 9), stride=st.tuples(st.integers(1, 3), st.integers(1, 3))),
)
configs = st.builds(
    NetConfig,
    part=parts,
    parts=st.lists(parts, max_size=3).map(tuple),
    rate=st.floats(0, 1e6),
    size=st.integers(),
    name=st.text(),
    mode=st.sampled_from(["fast", "slow"]),
    colour=st.sampled_from(Colour),
    path=st.one_of(st.none(), st.just(Path("x/y"))),
    on=st.booleans(),
    weights=st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False), max_size=3),
    anything=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
        max_leaves=5,
    ),
)


@given(configs)
def test_from_dict_of_to_dict_is_the_same_config(config):
    again = NetConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)


def test_importing_configs_costs_no_jax():
    heavy = "[m for m in ('jax', 'numpy', 'yaml') if m in sys.modules]"
    code = f"import artifex.core.config, artifex.core.convert, sys; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
