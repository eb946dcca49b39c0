import numpy as np
import pytest

from artifex.core.evaluation.intervals import bootstrap
from artifex.core.evaluation.likelihood import BitsPerDim, NegativeLogLikelihood, PerExample, Reconstruction, Scores
from artifex.core.evaluation.metric import TooFewRows

VALUES = np.random.default_rng(0).normal(-80, 5, size=40)


def computed(values, metric=None):
    metric = metric or PerExample(name="elbo", higher_is_better=True)
    rows = {"values": values, "index": np.arange(len(values))}
    return metric.compute(metric.update(metric.init(), rows, np.ones(len(values))))


def test_the_value_is_the_mean_with_the_bootstrap_interval():
    found = computed(VALUES)
    assert found.value == pytest.approx(VALUES.mean(), rel=1e-14)
    assert found.n == 40
    assert (found.ci_low, found.ci_high) == pytest.approx(bootstrap(VALUES), abs=0.5)  # the order of rows is another


def test_float32_values_are_added_in_float64():
    values = np.full(100_000, 0.1, np.float32)
    assert computed(values).value == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_likelihoods_are_better_when_higher_and_errors_when_lower():
    better = {
        make().name: make().higher_is_better for make in (Scores, NegativeLogLikelihood, BitsPerDim, Reconstruction)
    }
    assert better == {"scores": True, "nll": False, "bits_per_dim": False, "reconstruction": False}


@pytest.mark.parametrize("n", [0, 1])
def test_an_empty_set_and_a_single_example_are_refused(n):
    with pytest.raises(TooFewRows, match=f"elbo: expected at least 2 rows of data, got {n}"):
        computed(VALUES[:n])


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="expected finite elbo, got NaN or infinity"):
        computed(np.array([1.0, -np.inf, 2.0]))
