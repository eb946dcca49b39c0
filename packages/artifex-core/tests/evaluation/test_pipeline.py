"""The pipeline: what applies is measured, what does not is named, and reports hold it all."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.data.source import ArraySource
from artifex.core.evaluation.pipeline import EvaluationPipeline
from artifex.core.evaluation.report import html_page, markdown, write_report
from artifex.core.model import GenerativeModel
from artifex.core.prob import gaussian, noise
from artifex.core.prob.gaussian import Gaussian


@dataclass(frozen=True, kw_only=True)
class PointsConfig(ModelConfig):
    std: float = 1.0


class Points(GenerativeModel):
    """N(0, std²) in the plane, nothing learned."""

    def __init__(self, config: PointsConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.log_std = nnx.Param(jnp.full(2, np.log(config.std)))

    def __call__(self, x, *, rngs=None):
        return {"log_prob": self.log_prob(x)}

    def loss_fn(self, batch, outputs):
        return {"loss": -outputs["log_prob"].mean()}

    def generate(self, n_samples=1, *, rngs=None):
        return jnp.exp(self.log_std[...]) * noise.normal(self.rngs_or_own(rngs), (n_samples, 2))

    def log_prob(self, x):
        return gaussian.log_prob(Gaussian(jnp.zeros_like(x), jnp.broadcast_to(self.log_std[...], x.shape)), x)


@pytest.fixture(scope="module")
def data() -> ArraySource:
    return ArraySource({"x": np.random.default_rng(0).standard_normal((300, 2)).astype(np.float32)}, name="plane")


@pytest.fixture(scope="module")
def found(data):
    return EvaluationPipeline(n_samples=200).evaluate(Points(PointsConfig(), rngs=nnx.Rngs(0)), data)


def test_log_prob_is_the_mean_over_all_rows_and_no_padding(found, data):
    x = data.arrays["x"].astype(float)
    expected = (-0.5 * (x**2).sum(1) - np.log(2 * np.pi)).mean()
    row = next(r for r in found.results if r.metric == "log_prob")
    assert row.value == pytest.approx(expected, rel=1e-5)
    assert (row.n, row.higher_is_better) == (300, True)
    assert row.ci_low < expected < row.ci_high


def test_distribution_metrics_see_a_wrong_scale(data, found):
    wide = EvaluationPipeline(["FD", "energy"], n_samples=200).evaluate(
        Points(PointsConfig(std=2.0), rngs=nnx.Rngs(0)), data
    )
    good = {r.metric: r for r in found.results}
    for row in wide.results:
        assert row.ci_low > good[row.metric].ci_high
    # FD of N(0, 1) and N(0, 4) in two dimensions: 2 (1 + 4 − 2·2) = 2
    assert next(r.value for r in wide.results if r.metric == "FD[pixels]") == pytest.approx(2, abs=0.6)


def test_what_does_not_apply_is_named(found):
    assert found.skipped == (("reconstruction", "Points is no autoencoder"),)


def test_equal_seeds_give_equal_values(data, found):
    again = EvaluationPipeline(n_samples=200).evaluate(Points(PointsConfig(), rngs=nnx.Rngs(0)), data)
    assert [r.value for r in again.results] == [r.value for r in found.results]


def test_unknown_metrics_are_refused_before_anything_runs(data):
    with pytest.raises(LookupError, match="got 'FID'"):
        EvaluationPipeline(["FID"]).evaluate(Points(PointsConfig(), rngs=nnx.Rngs(0)), data)


def test_reports_hold_every_value_and_need_nothing_else(tmp_path, found):
    history = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}]
    page = write_report(found, tmp_path, history).read_text(encoding="utf-8")
    for row in found.results:
        assert f"{row.value:.4f}" in page
        assert f"{row.value:.4f}" in markdown(found)
    assert page.count("<svg") == 1
    assert "data:image/png;base64," in page
    assert "http" not in page
    assert html_page(found, {}, ()) == html_page(found, {}, ())
    assert (tmp_path / "samples.png").read_bytes()[:4] == b"\x89PNG"
