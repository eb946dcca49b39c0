"""Utilisation is FLOPs a second over the peak, where there is one."""

from __future__ import annotations

import pytest

from artifex.core.training.utilisation import peak_flops, utilisation


def test_half_the_peak_is_one_half():
    assert utilisation(989e12 / 20, 10.0, "NVIDIA H100 80GB HBM3") == pytest.approx(0.5)


def test_an_unknown_device_has_none():
    assert peak_flops("cpu") is None
    assert utilisation(1e9, 10.0, "cpu") is None
