"""Do single codes follow single factors? Scores for codes z [example, code] and known factors v [example, factor].

    MIG  = mean_k (I(z_{j*}; v_k) − max_{j ≠ j*} I(z_j; v_k)) / H(v_k),  I from histograms of z with 20 bins       (1)
    SAP  = mean_k (S_{j*k} − max_{j ≠ j*} S_jk),  S the squared correlation of one code and one factor             (2)
    DCI: R_jk importance of code j in a boosted classifier of factor k; P_jk = R_jk / Σ_k R_jk, Q_jk = R_jk / Σ_j R_jk
    disentanglement = Σ_j ρ_j (1 + Σ_k P_jk log_K P_jk),  ρ_j = Σ_k R_jk / Σ R                                     (3)
    completeness    = mean_k (1 + Σ_j Q_jk log_J Q_jk)                                                             (4)
    informativeness = accuracy of the classifiers on examples that they did not see                                (5)
All are 1 for codes that are the factors, in any order.

Differs:
    [2] takes the accuracy of a support vector machine for factors without order; (2) takes the squared correlation,
    as [2] does for factors that are numbers. Factors here are numbers.

References:
    [1] Chen et al., Isolating Sources of Disentanglement in Variational Autoencoders, 2018, arXiv:1802.04942
    [2] Kumar, Sattigeri & Balakrishnan, DIP-VAE, 2017, arXiv:1711.00848
    [3] Eastwood & Williams, A Framework for the Quantitative Evaluation of Disentangled Representations, ICLR 2018
    [4] Locatello et al., Challenging Common Assumptions, 2018, arXiv:1811.12359
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Codes = Float[np.ndarray, "example code"]
Factors = Int[np.ndarray, "example factor"]
Table = Float[np.ndarray, "code factor"]
BINS = 20  # of [4]
HELD_OUT = 4  # a fourth of the examples is not trained on


class DCI(NamedTuple):
    """Eq. 3 to 5."""

    disentanglement: float
    completeness: float
    informativeness: float


def mutual_information_gap(z: Codes, v: Factors) -> float:
    """MIG (eq. 1)."""
    _need_two(z, v, "mutual_information_gap")
    bins = np.stack([_binned(column) for column in z.T], 1)
    entropies = np.array([_entropy(np.bincount(column)) for column in v.T])
    information = np.array([[_information(b, f) for f in v.T] for b in bins.T])
    return float((_top_gap(information) / entropies).mean())


def separated_attribute_predictability(z: Codes, v: Factors) -> float:
    """SAP (eq. 2); a code that never changes predicts nothing."""
    _need_two(z, v, "separated_attribute_predictability")
    spread = z.std(0)[:, None] * v.std(0)[None]
    covariance = (z - z.mean(0)).T @ (v - v.mean(0)) / len(z)
    scores = np.where(spread > 0, covariance / np.where(spread > 0, spread, 1), 0) ** 2
    return float(_top_gap(scores).mean())


def dci(z: Codes, v: Factors, *, seed: int = 0) -> DCI:
    """Disentanglement, completeness and informativeness (eq. 3 to 5)."""
    from sklearn.ensemble import GradientBoostingClassifier

    _need_two(z, v, "dci")
    unseen = np.random.default_rng(seed).permutation(len(z)) % HELD_OUT == 0
    importance, accuracy = np.zeros((z.shape[1], v.shape[1])), []
    for k, factor in enumerate(v.T):
        model = GradientBoostingClassifier(n_estimators=20, random_state=seed).fit(z[~unseen], factor[~unseen])
        importance[:, k] = model.feature_importances_
        accuracy.append(model.score(z[unseen], factor[unseen]))
    return DCI(_disentanglement(importance), _completeness(importance), float(np.mean(accuracy)))


def _disentanglement(importance: Table) -> float:
    """Eq. 3."""
    total = importance.sum(1)
    shares = importance / np.where(total > 0, total, 1)[:, None]
    per_code = 1 + _x_log_x(shares).sum(1) / np.log(importance.shape[1])
    return float((total / total.sum() * per_code).sum())


def _completeness(importance: Table) -> float:
    """Eq. 4."""
    shares = importance / importance.sum(0)
    return float((1 + _x_log_x(shares).sum(0) / np.log(importance.shape[0])).mean())


def _x_log_x(p: np.ndarray) -> np.ndarray:
    return p * np.log(np.where(p > 0, p, 1))


def _top_gap(scores: Table) -> Float[np.ndarray, " factor"]:
    """The best code's score less the second best's, for each factor."""
    top = np.sort(scores, axis=0)
    return top[-1] - top[-2]


def _binned(column: Float[np.ndarray, " example"]) -> Int[np.ndarray, " example"]:
    """The bin of each value, 0 … BINS − 1, between the least and the greatest."""
    edges = np.linspace(column.min(), column.max(), BINS + 1)[1:-1]
    return np.digitize(column, edges)


def _information(a: Int[np.ndarray, " example"], b: Int[np.ndarray, " example"]) -> float:
    """I(a; b) in nats, from counts."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1)
    return _entropy(joint.sum(1)) + _entropy(joint.sum(0)) - _entropy(joint.ravel())


def _entropy(counts: np.ndarray) -> float:
    """Entropy of counts in nats."""
    return float(-_x_log_x(counts / counts.sum()).sum())


def _need_two(z: np.ndarray, v: np.ndarray, where: str) -> None:
    if z.ndim != 2 or v.ndim != 2 or len(z) != len(v) or z.shape[1] < 2 or v.shape[1] < 2:
        raise ValueError(
            f"{where}: expected codes [example, code >= 2] and factors [example, factor >= 2] of equal length, got "
            f"{z.shape} and {v.shape}. Take the posterior means of one batch and its factors."
        )
