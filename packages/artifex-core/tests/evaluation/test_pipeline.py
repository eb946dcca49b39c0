from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.data.source import ArraySource
from artifex.core.evaluation.extractor import Extractor
from artifex.core.evaluation.ledger import Ledger
from artifex.core.evaluation.likelihood import PerExample
from artifex.core.evaluation.pipeline import EvaluationPipeline, settled, weights_digest
from artifex.core.model import GenerativeModel
from artifex.core.prob import gaussian, noise
from artifex.core.prob.gaussian import Gaussian


@dataclass(frozen=True, kw_only=True)
class PointsConfig(ModelConfig):
    """Of the model below."""

    std: float = 1.0


class Points(GenerativeModel):
    """N(0, std²) in the plane, nothing learned."""

    def __init__(self, config, *, rngs):
        super().__init__(config, rngs=rngs)
        self.log_std = nnx.Param(jnp.full(2, np.log(config.std)))

    def generate(self, n_samples=1, *, rngs=None):
        return jnp.exp(self.log_std[...]) * noise.normal(self.rngs_or_own(rngs), (n_samples, 2))

    def log_prob(self, x):
        return gaussian.log_prob(Gaussian(jnp.zeros_like(x), jnp.broadcast_to(self.log_std[...], x.shape)), x)


class Shifted(GenerativeModel):
    """Samples are the condition."""

    conditions = ("y",)

    def generate(self, n_samples=1, *, y, rngs=None):
        return jnp.broadcast_to(y[:, None], (n_samples, 2)).astype(float)


def points(std=1.0):
    return Points(PointsConfig(std=std), rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def data():
    return ArraySource({"x": np.random.default_rng(0).standard_normal((300, 2)).astype(np.float32)}, name="plane")


@pytest.fixture(scope="module")
def found(data):
    return EvaluationPipeline(n_samples=200).evaluate(points(), data)


def values(found):
    return {result.metric: result.value for result in found.results}


def test_what_applies_is_measured_and_the_rest_is_named_with_its_reason(found):
    sets = [f"{name}[pixels]" for name in ("FD", "KD", "energy", "precision", "recall", "density", "coverage")]
    assert list(values(found)) == ["nll", *sets]
    assert dict(found.skipped) == {
        "scores": "Points gives no bound of its likelihood",
        "bits_per_dim": "the data are not in levels",
        "reconstruction": "Points is no autoencoder",
    }


def test_a_wrong_scale_is_seen_by_the_distances(data, found):
    wide = EvaluationPipeline(["FD", "energy"], n_samples=200).evaluate(points(2.0), data)
    good = {r.metric: r for r in found.results}
    assert all(row.ci_low > good[row.metric].ci_high for row in wide.results)
    # FD of N(0, 1) and N(0, 4) in two dimensions: 2 (1 + 4 − 2·2) = 2
    assert values(wide)["FD[pixels]"] == pytest.approx(2, abs=0.6)


def test_equal_seeds_give_equal_values_and_others_others(data, found):
    assert values(EvaluationPipeline(n_samples=200).evaluate(points(), data)) == values(found)
    other = EvaluationPipeline(["FD"], n_samples=200, seed=1).evaluate(points(), data)
    assert values(other)["FD[pixels]"] != values(found)["FD[pixels]"]


def test_rows_say_what_they_are_over(data, found):
    row = next(r for r in found.results if r.metric == "FD[pixels]")
    assert (row.n, row.extractor, row.higher_is_better) == (200, "pixels", False)
    assert row.params == (("n_samples", 200), ("extractor_version", 1))
    assert row.data == f"plane@{data.digest[:12]}"


def test_provenance_names_model_config_weights_and_versions(found):
    about = found.provenance
    assert (about["model"], about["config"]["std"], about["n"], about["n_samples"]) == ("Points", 1.0, 300, 200)
    assert about["versions"]["jax"] == jax.__version__
    assert about["weights"] == weights_digest(points())[:16]
    assert about["weights"] != weights_digest(points(2.0))[:16]


def test_features_are_extracted_once_for_all_metrics(data):
    seen = []

    def halved(x):
        seen.append(len(x))
        return np.asarray(x) / 2

    extractor = Extractor("half", 1, "ab" * 20, 2, halved)
    found = EvaluationPipeline(["FD", "KD"], extractors=[extractor], n_samples=200).evaluate(points(), data)
    assert list(values(found)) == ["FD[half@abababababab]", "KD[half@abababababab]"]
    assert sorted(seen) == [44, 200, 256]  # 300 rows of data in two batches, 200 samples


def test_conditions_of_the_data_go_into_the_samples():
    y = np.arange(40) % 4
    source = ArraySource({"x": np.stack([y, y], 1).astype(np.float32), "y": y})
    found = EvaluationPipeline(["FD", "precision"]).evaluate(Shifted(PointsConfig(), rngs=nnx.Rngs(0)), source)
    assert values(found) == pytest.approx({"FD[pixels]": 0, "precision[pixels]": 1}, abs=1e-9)


def test_few_samples_leave_set_metrics_out_with_the_reason(data):
    found = EvaluationPipeline(["nll", "FD"], n_samples=5).evaluate(points(), data)
    assert list(values(found)) == ["nll"]
    assert found.skipped[0][0] == "FD[pixels]"
    assert found.skipped[0][1].startswith("FD: expected at least 20 rows of samples, got 5.")


def test_a_metric_that_needs_more_than_sets_is_left_out(data):
    pipeline = EvaluationPipeline(["pairs"], n_samples=30)
    pipeline.registry.register("pairs", lambda: PerExample(name="pairs", higher_is_better=True))
    assert pipeline.evaluate(points(), data).skipped == (("pairs[pixels]", "needs values"),)


def test_samples_that_are_not_finite_are_an_error(data):
    with pytest.raises(ValueError, match="expected finite fake features, got NaN or infinity"):
        EvaluationPipeline(["FD"], n_samples=30).evaluate(points(np.inf), data)


def test_unknown_metrics_and_no_samples_are_refused_before_anything_runs(data):
    with pytest.raises(LookupError, match="got 'FID'"):
        EvaluationPipeline(["FID"]).evaluate(points(), data)
    with pytest.raises(ValueError, match=r"expected n_samples >= 1, got 0"):
        EvaluationPipeline(n_samples=0)


def test_results_go_to_the_ledger(tmp_path, data):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        found = EvaluationPipeline(["nll", "FD"], n_samples=50, ledger=ledger).evaluate(points(), data)
        assert {row.metric: row.value for row in ledger.entries()} == values(found)


def test_noise_of_the_data_is_drawn_once_and_for_all():
    def coin(batch, key):
        return {**batch, "x": jax.random.bernoulli(key, batch["x"]).astype(jnp.float32)}

    noisy = ArraySource({"x": np.full((300, 4), 0.3, np.float32), "y": np.arange(300)}, transform=coin)
    once, again = settled(noisy, 0), settled(noisy, 0)
    x = once.take(np.arange(300))["x"]
    assert (once.transform, len(once)) == (None, 300)
    assert set(np.unique(x)) == {0.0, 1.0}
    assert x.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 1200))  # four standard errors
    assert np.array_equal(again.take(np.arange(300))["x"], x)
    assert np.array_equal(once.take(np.arange(300))["y"], np.arange(300))


def test_data_without_noise_are_taken_as_they_are(data):
    assert settled(data, 0) is data
