from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from artifex.core.config import ModelConfig
from artifex.core.data.source import ArraySource
from artifex.core.evaluation.intervals import over_seeds
from artifex.core.evaluation.ledger import Ledger
from artifex.core.evaluation.result import Result
from artifex.core.evaluation.suite import Benchmark, BenchmarkSuite, discoveries, p_value, score
from artifex.core.evaluation.verdict import Measured
from artifex.core.model import GenerativeModel
from artifex.core.prob import noise


@dataclass(frozen=True, kw_only=True)
class LineConfig(ModelConfig):
    """Of the model below."""

    mean: float = 0.0


class Line(GenerativeModel):
    """N(mean, 1) in two dimensions."""

    def generate(self, n_samples=1, *, rngs=None):
        return self.config.mean + noise.normal(self.rngs_or_own(rngs), (n_samples, 2))

    def log_prob(self, x):
        return -0.5 * ((x - self.config.mean) ** 2 + jnp.log(2 * jnp.pi)).sum(-1)


def line(mean):
    return Line(LineConfig(mean=mean), rngs=nnx.Rngs(0))


def row(value, half):
    return Result("m", value, value - half, value + half, 10, "d", None, True, 1)


@pytest.fixture(scope="module")
def data():
    return ArraySource({"x": np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)}, name="line")


@pytest.fixture(scope="module")
def compared(data):
    suite = BenchmarkSuite([Benchmark("line", 1, data, ("nll", "energy"), 200)])
    return suite.compare_models({"good": line(0.0), "twin": line(0.0), "bad": line(1.0)})


def test_a_score_is_the_mean_over_seeds_with_students_interval():
    values = [1.0, 2.0, 4.0]
    found = score([row(v, 0.1) for v in values])
    assert found.measured == pytest.approx((7 / 3, *over_seeds(values)))
    assert found.n_seeds == 3


def test_a_score_is_never_surer_than_a_single_evaluation():
    assert score([row(2.0, 0.5), row(2.0, 0.7)]).measured == pytest.approx((2.0, 1.4, 2.6))


def test_the_same_model_is_the_same_and_another_one_worse(compared):
    verdicts = {(pair.metric, pair.a, pair.b): pair.verdict for pair in compared.pairs}
    for metric in ("nll", "energy[pixels]"):
        assert verdicts[metric, "good", "twin"] == "same"
        assert verdicts[metric, "good", "bad"] == "regressed"
    assert len(verdicts) == 6


def test_a_result_holds_the_value_of_each_benchmark_and_model(compared, data):
    x = data.arrays["x"].astype(float)
    expected = (0.5 * x**2).sum(1).mean() + np.log(2 * np.pi)
    found = compared.results["line@1", "good"].scores["nll"]
    assert found.measured.value == pytest.approx(expected, rel=1e-6)
    assert found.measured.ci_low < expected < found.measured.ci_high


def test_every_seed_goes_to_the_ledger(tmp_path, data):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        BenchmarkSuite(ledger=ledger, seeds=(4, 5)).run_benchmark(line(0.0), data, ["nll"])
        assert [entry.seed for entry in ledger.entries()] == [4, 5]


def test_p_is_that_of_a_normal_difference():
    a, b = Measured(0.0, -0.98, 0.98), Measured(1.0, 1 - 0.98, 1 + 0.98)
    z = 1.0 / np.hypot(0.98, 0.98) * stats.norm.ppf(0.975)
    assert p_value(a, b) == pytest.approx(2 * stats.norm.sf(z), rel=1e-9)
    assert p_value(Measured(1, 1, 1), Measured(1, 1, 1)) == 1
    assert p_value(Measured(1, 1, 1), Measured(2, 2, 2)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_discoveries_are_scipys(seed):
    p = np.random.default_rng(seed).beta(0.4, 2, size=30)
    assert np.array_equal(discoveries(p), stats.false_discovery_control(p) <= 0.05)


def test_no_tests_give_no_discoveries():
    assert discoveries(np.zeros(0)).size == 0
    assert discoveries(np.array([0.9, 0.8])).sum() == 0


def test_a_single_seed_is_refused():
    with pytest.raises(ValueError, match=r"BenchmarkSuite: expected at least 2 seeds, got \[0\]"):
        BenchmarkSuite(seeds=(0,))
