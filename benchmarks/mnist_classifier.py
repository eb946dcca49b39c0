"""A small classifier of MNIST, whose features and labels judge samples: FD[mnist_classifier@digest].

A perceptron, 784 → 256 → 64 → 10, four epochs of 128, seed 0. The 64 values before the last layer are the features;
the digest is that of the weights, so figures of other weights never stand beside these.

    python benchmarks/mnist_classifier.py
"""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from artifex.core import load_dataset
from artifex.core.evaluation.extractor import Extractor
from artifex.core.leaves import flatten, merge
from artifex.core.testing.paths import data_folder

EPOCHS, BATCH = 4, 128


class Perceptron(nnx.Module):
    """Two hidden layers."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List(nnx.Linear(*widths, rngs=rngs) for widths in ((784, 256), (256, 64), (64, 10)))

    def features(self, x: jax.Array) -> jax.Array:
        """What the last layer sees."""
        h = x.reshape(len(x), -1)
        for layer in self.layers[:-1]:
            h = jax.nn.relu(layer(h))
        return h


class Judge(NamedTuple):
    """A trained classifier."""

    extractor: Extractor
    network: Perceptron

    def labels(self, x: np.ndarray) -> np.ndarray:
        """The likeliest class of each picture in [0, 1]."""
        return np.asarray(self.network.layers[-1](jnp.asarray(self.extractor.features(x)))).argmax(1)


def train(x: np.ndarray, y: np.ndarray) -> Judge:
    """A classifier of the pictures x in [0, 1] with labels y."""
    layout, weights = flatten(Perceptron(rngs=nnx.Rngs(0)))
    adam = optax.adam(1e-3)

    @jax.jit
    def step(weights, state, x, y):
        def loss(weights):
            network = merge(layout, weights)
            logits = network.layers[-1](network.features(x))
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        moves, state = adam.update(jax.grad(loss)(weights), state)
        return optax.apply_updates(weights, moves), state

    state, order = adam.init(weights), np.random.default_rng(0)
    for _ in range(EPOCHS):
        for rows in order.permutation(len(x))[: len(x) // BATCH * BATCH].reshape(-1, BATCH):
            weights, state = step(weights, state, x[rows], y[rows])
    features = jax.jit(lambda x: merge(layout, weights).features(x))
    digest = hashlib.sha256(b"".join(np.asarray(weights[name]).tobytes() for name in sorted(weights))).hexdigest()
    extractor = Extractor("mnist_classifier", 1, digest, 64, lambda x: np.asarray(features(x)))
    return Judge(extractor, merge(layout, weights))


def main() -> None:
    """How often the classifier is right."""
    if data_folder() is None:
        print("MNIST: left out, no data folder (set ARTIFEX_DATA)")
        return
    sources = [load_dataset("mnist", split) for split in ("train", "test")]
    known, test = (source.take(np.arange(len(source))) for source in sources)
    judge = train(known["x"], known["y"])
    print(f"{judge.extractor.key}: {(judge.labels(test['x']) == test['y']).mean():.4f} of the test set")


if __name__ == "__main__":
    main()
