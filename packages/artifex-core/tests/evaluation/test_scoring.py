from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.data.source import ArraySource
from artifex.core.data.spec import DataSpec
from artifex.core.evaluation.likelihood import PerExample
from artifex.core.evaluation.scoring import Scorer, Scoring, likelihood, scores
from artifex.core.model import GenerativeModel
from artifex.core.prob import noise

X = np.random.default_rng(0).integers(0, 4, size=(300, 2)).astype(np.float32) / 3
MASS = np.array([0.1, 0.2, 0.3, 0.4])  # of the four levels


@dataclass(frozen=True, kw_only=True)
class LevelsConfig(ModelConfig):
    """Of the model below."""


class Levels(GenerativeModel):
    """Independent entries in four levels: likelihood, scores and codes are known."""

    def __init__(self, config, *, rngs):
        super().__init__(config, rngs=rngs)
        self.logits = nnx.Param(jnp.log(jnp.asarray(MASS)))

    def log_prob(self, x):
        return self.logits[...][jnp.rint(x * 3).astype(int)].sum(-1)

    def scores(self, x, *, rngs):
        return {"sum": x.sum(-1), "noise": noise.normal(rngs, (len(x), 1))[:, 0]}

    def encode(self, x):
        return x[:, :1]

    def decode(self, z):
        return jnp.concatenate([z, z], 1)


def source(**spec):
    return ArraySource({"x": X}, DataSpec(shape=(2,), **spec), name="levels")


@pytest.fixture(scope="module")
def scoring():
    return Scoring(Levels(LevelsConfig(), rngs=nnx.Rngs(0)), source(low=0, high=1, levels=4), "levels@x", 0)


@pytest.fixture(scope="module")
def found(scoring):
    results, skipped = scoring.results(("scores", "nll", "bits_per_dim", "reconstruction"))
    assert skipped == []
    return {result.metric: result for result in results}


def test_nll_is_the_mean_over_all_rows_and_no_padding(found):
    expected = -np.log(MASS)[np.rint(X * 3).astype(int)].sum(1)
    assert found["nll"].value == pytest.approx(expected.mean(), rel=1e-6)
    assert (found["nll"].n, found["nll"].higher_is_better) == (300, False)
    assert found["nll"].ci_low < expected.mean() < found["nll"].ci_high


def test_batches_give_the_value_and_interval_of_all_rows_at_once(found):
    metric = PerExample(name="nll", higher_is_better=False)
    rows = -np.log(MASS).astype(np.float32)[np.rint(X * 3).astype(int)].sum(1)
    state = metric.update(metric.init(), {"values": rows, "index": np.arange(300)}, np.ones(300))
    assert found["nll"][1:5] == pytest.approx(metric.compute(state)[:4], rel=1e-6)


def test_bits_per_dim_is_nll_over_entries_and_log_2(found):
    assert found["bits_per_dim"].value == pytest.approx(found["nll"].value / (2 * np.log(2)), rel=1e-6)


def test_scores_have_the_names_that_the_model_gives_them(found):
    assert found["sum"].value == pytest.approx(X.sum(1).mean(), rel=1e-6)
    assert found["sum"].higher_is_better


def test_reconstruction_is_the_mean_square_of_what_the_code_loses(found):
    assert found["reconstruction"].value == pytest.approx(((X[:, 1] - X[:, 0]) ** 2).mean() / 2, rel=1e-6)


def test_the_noise_of_a_row_does_not_depend_on_its_batch(scoring):
    values = np.concatenate([v["noise"][m > 0] for _, m, v in scoring.values(scores)])
    fewer = Scoring(scoring.model, ArraySource({"x": X[:270]}), "levels@x", 0)
    again = np.concatenate([v["noise"][m > 0] for _, m, v in fewer.values(scores)])
    assert np.array_equal(values[:270], again)
    assert len(np.unique(values)) == 300


def test_only_what_is_wanted_is_computed(scoring):
    results, _ = scoring.results(("bits_per_dim",))
    assert [result.metric for result in results] == ["bits_per_dim"]


def test_bits_are_only_given_for_data_in_levels(scoring):
    results, skipped = Scoring(scoring.model, source(), "levels@x", 0).results(("nll", "bits_per_dim"))
    assert [result.metric for result in results] == ["nll"]
    assert skipped == [("bits_per_dim", "the data are not in levels")]


def test_what_a_model_does_not_offer_is_named(scoring):
    class Nothing(GenerativeModel):
        """A model without a protocol."""

    model = Nothing(LevelsConfig(), rngs=nnx.Rngs(0))
    results, skipped = Scoring(model, scoring.source, "levels@x", 0).results(("scores", "nll", "reconstruction"))
    assert results == []
    assert skipped == [
        ("scores", "Nothing gives no bound of its likelihood"),
        ("nll", "Nothing has no exact likelihood"),
        ("reconstruction", "Nothing is no autoencoder"),
    ]


def test_a_single_example_is_left_out_with_the_reason(scoring):
    one = Scoring(scoring.model, ArraySource({"x": X[:1]}), "levels@x", 0)
    results, skipped = one.results(("nll",))
    assert results == []
    assert skipped == [("nll", "nll: expected at least 2 rows of data, got 1. Give more, or leave the metric out.")]


def test_a_likelihood_that_is_not_finite_is_an_error(scoring):
    broken = Levels(LevelsConfig(), rngs=nnx.Rngs(0))
    broken.logits[...] = jnp.full(4, -jnp.inf)
    with pytest.raises(ValueError, match="expected finite nll, got NaN or infinity"):
        Scoring(broken, scoring.source, "levels@x", 0).results(("nll",))


def test_the_protocol_is_met_by_the_method(scoring):
    assert isinstance(scoring.model, Scorer)
    values = likelihood(scoring.model, jnp.asarray(X[:3]), nnx.Rngs(0), {})
    assert float(values["nll"][0]) == pytest.approx(-np.log(MASS)[np.rint(X[0] * 3).astype(int)].sum(), rel=1e-6)
