import pytest

from artifex.core.errors import PluginConflict
from artifex.core.evaluation.kernel import KernelDistance
from artifex.core.evaluation.likelihood import Scores
from artifex.core.evaluation.registry import MetricsRegistry


def test_a_metric_of_this_process_is_found_by_its_name():
    registry = MetricsRegistry()
    registry.register("mine", Scores)
    assert registry.get("mine").name == "scores"
    assert set(registry.names()) - set(MetricsRegistry().names()) == {"mine"}


def test_installed_metrics_are_built_anew_and_names_are_sorted():
    registry = MetricsRegistry()
    assert registry.get("KD") == KernelDistance()
    assert list(registry.names()) == sorted(registry.names())


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(PluginConflict, match="expected a free name, got 'FD'"):
        MetricsRegistry().register("FD", Scores)


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(LookupError, match=r"got 'energi'. Did you mean 'energy'\? Run 'artifex list-metrics'"):
        MetricsRegistry().get("energi")
