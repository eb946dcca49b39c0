"""Configs: freezing, checking, tags, and the way to plain values and back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Literal

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
)


@given(configs)
def test_from_dict_of_to_dict_is_the_same_config(config):
    assert NetConfig.from_dict(config.to_dict()) == config


def test_importing_configs_costs_no_jax():
    heavy = "[m for m in ('jax', 'numpy', 'yaml') if m in sys.modules]"
    code = f"import artifex.core.config, artifex.core.convert, sys; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
