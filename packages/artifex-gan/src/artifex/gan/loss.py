"""What critic and generator lower, as functions of the critic's logits.

    r, f     logits of real and of generated examples; σ the sigmoid, s(t) = log(1 + eᵗ) = −log σ(−t)
    name              critic                          generator
    minimax [1]       s(−r) + s(f)                    −s(f)                                                      (1)
    nonsaturating [1] s(−r) + s(f)                    s(−f)                                                      (2)
    least_squares [2] ½ (r − b)² + ½ (f − a)²         ½ (f − c)²                                                 (3)
    wasserstein [3]   f − r                           −f                                                         (4)
    hinge [4]         max(0, 1 − r) + max(0, 1 + f)   −f                                                         (5)
    relativistic [5]  s(−(r − f))                     s(r − f)                                                   (6)
Values are for each logit: a row's loss is the mean over its logits, of which a patch critic has many.

References:
    [1] Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661
    [2] Mao et al., Least Squares Generative Adversarial Networks, 2017, arXiv:1611.04076
    [3] Arjovsky, Chintala & Bottou, Wasserstein GAN, 2017, arXiv:1701.07875
    [4] Lim & Ye, Geometric GAN, 2017, arXiv:1705.02894
    [5] Jolicoeur-Martineau, The relativistic discriminator, 2018, arXiv:1807.00734
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
from jaxtyping import Array, Float

Logits = Float[Array, "batch *patch"]
PerLogit = Callable[[Logits, Logits], Logits]  # (real, fake) -> a value for each logit
LossName = Literal["minimax", "nonsaturating", "least_squares", "wasserstein", "hinge", "relativistic"]


class AdversarialLoss(NamedTuple):
    """What each side lowers."""

    critic: PerLogit
    generator: PerLogit
    paired: bool = False  # the generator's loss looks at real logits too


def _binary(real: Logits, fake: Logits) -> Logits:
    """−log σ(r) − log σ(−f)."""
    return jax.nn.softplus(-real) + jax.nn.softplus(fake)


def minimax() -> AdversarialLoss:
    """The game of the first paper: the critic's loss and the generator's add up to s(−r) (eq. 1)."""
    return AdversarialLoss(_binary, lambda real, fake: -jax.nn.softplus(fake))


def nonsaturating() -> AdversarialLoss:
    """The same critic; the generator raises log σ(f), whose gradient does not vanish (eq. 2)."""
    return AdversarialLoss(_binary, lambda real, fake: jax.nn.softplus(-fake))


def least_squares(a: float = 0.0, b: float = 1.0, c: float = 1.0) -> AdversarialLoss:
    """Squares to the targets a of fakes, b of data, and c that the generator aims at (eq. 3)."""
    return AdversarialLoss(
        lambda real, fake: 0.5 * (real - b) ** 2 + 0.5 * (fake - a) ** 2, lambda real, fake: 0.5 * (fake - c) ** 2
    )


def wasserstein() -> AdversarialLoss:
    """Minus the dual of the Wasserstein-1 distance, for a critic held Lipschitz (eq. 4)."""
    return AdversarialLoss(lambda real, fake: fake - real, lambda real, fake: -fake)


def hinge() -> AdversarialLoss:
    """Margins of 1 on both sides (eq. 5)."""
    return AdversarialLoss(lambda real, fake: jax.nn.relu(1 - real) + jax.nn.relu(1 + fake), lambda real, fake: -fake)


def relativistic() -> AdversarialLoss:
    """Each real example against the fake of the same row (eq. 6)."""
    return AdversarialLoss(
        lambda real, fake: jax.nn.softplus(fake - real), lambda real, fake: jax.nn.softplus(real - fake), paired=True
    )


LOSSES: dict[LossName, Callable[[], AdversarialLoss]] = {
    "minimax": minimax,
    "nonsaturating": nonsaturating,
    "least_squares": least_squares,
    "wasserstein": wasserstein,
    "hinge": hinge,
    "relativistic": relativistic,
}
