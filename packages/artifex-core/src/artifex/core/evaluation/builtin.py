"""The metrics that core brings, as lazy records."""

from __future__ import annotations

from artifex.core.plugins.records import TargetRecord

METRICS = (
    TargetRecord("scores", "artifex.core.evaluation.likelihood:Scores", "per-example log-likelihoods or bounds, nats"),
    TargetRecord("nll", "artifex.core.evaluation.likelihood:NegativeLogLikelihood", "-log p(x), nats"),
    TargetRecord("bits_per_dim", "artifex.core.evaluation.likelihood:BitsPerDim", "-log p(x), bits an entry in levels"),
    TargetRecord(
        "reconstruction", "artifex.core.evaluation.likelihood:Reconstruction", "mean squared error of decode(encode(x))"
    ),
    TargetRecord(
        "FD", "artifex.core.evaluation.frechet:FrechetDistance", "Frechet distance between Gaussians of features"
    ),
    TargetRecord(
        "KD", "artifex.core.evaluation.kernel:KernelDistance", "unbiased squared MMD with a cubic kernel of features"
    ),
    TargetRecord("energy", "artifex.core.evaluation.kernel:EnergyDistance", "energy distance between sets of features"),
    TargetRecord(
        "precision", "artifex.core.evaluation.manifold:Precision", "share of samples on the data's manifold, k = 3"
    ),
    TargetRecord("recall", "artifex.core.evaluation.manifold:Recall", "share of data on the samples' manifold, k = 3"),
    TargetRecord(
        "density", "artifex.core.evaluation.manifold:Density", "how often samples lie in the data's balls, k = 5"
    ),
    TargetRecord(
        "coverage", "artifex.core.evaluation.manifold:Coverage", "share of the data's balls with a sample, k = 5"
    ),
)
