import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifex.core.evaluation.registry import MetricsRegistry

N = 45  # of each set
RNG = np.random.default_rng(0)
SETS = {
    "real": np.round(RNG.normal(size=(N, 3)), 1) + 5,
    "fake": np.round(RNG.normal(0.3, 1.2, size=(N, 3)), 1) + 5,
    "values": RNG.normal(-90, 4, size=N),
}
# What a set gives against itself; 0 only on average where the estimator has no bias.
IDEAL = {"FD": 0, "precision": 1, "recall": 1, "density": 1, "coverage": 1}
EXACT = {"FD": 1e-9}  # relative: moments are added in another order; all others keep rows, and nothing changes
NAMES = MetricsRegistry().names()


def part(metric, rows, *, padding=0):
    """The state of some rows, after rows of NaN that do not count."""
    state = metric.init()
    for side in metric.needs:
        values = SETS[side][rows]
        nothing = np.full((padding, *values.shape[1:]), np.nan)
        batch = {side: np.concatenate([nothing, values]), "index": np.concatenate([np.zeros(padding, int), rows])}
        state = metric.update(state, batch, np.concatenate([np.zeros(padding), np.ones(len(rows))]))
    return state


def same(a, b, name):
    tolerance = EXACT.get(name, 0)
    assert a[:3] == pytest.approx(b[:3], rel=tolerance, abs=1e-12 if tolerance else 0)
    assert (a.n, a.flags) == (b.n, b.flags)


@st.composite
def splits(draw):
    """Rows in some order, cut into parts with some padding each, and the order in which the parts are merged."""
    order = draw(st.permutations(range(N)))
    cuts = sorted(draw(st.sets(st.integers(1, N - 1), max_size=6)))
    parts = [np.array(order[a:b]) for a, b in itertools.pairwise([0, *cuts, N])]
    return parts, draw(st.lists(st.integers(0, 3), min_size=len(parts), max_size=len(parts))), draw(st.randoms())


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=15)
@given(split=splits())
def test_any_split_order_merge_tree_and_padding_gives_the_same_value(name, split):
    parts, paddings, random = split
    metric = MetricsRegistry().get(name)
    states = [part(metric, rows, padding=padding) for rows, padding in zip(parts, paddings, strict=True)]
    while len(states) > 1:
        b = states.pop(random.randrange(len(states)))
        i = random.randrange(len(states))
        states[i] = metric.merge(states[i], b)
    same(metric.compute(states[0]), metric.compute(part(metric, np.arange(N))), name)


@pytest.mark.parametrize("name", NAMES)
def test_merging_with_nothing_changes_nothing(name):
    metric = MetricsRegistry().get(name)
    state = part(metric, np.arange(N))
    expected = metric.compute(state)
    assert metric.compute(metric.merge(state, metric.init())) == expected
    assert metric.compute(metric.merge(metric.init(), state)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_state_is_a_tree_of_numbers_that_survives_flattening(name):
    metric = MetricsRegistry().get(name)
    state = part(metric, np.arange(N))
    leaves, tree = jax.tree.flatten(state)
    assert all(np.asarray(leaf).dtype.kind in "iuf" for leaf in leaves)
    assert metric.compute(jax.tree.unflatten(tree, leaves)) == metric.compute(state)


@pytest.mark.parametrize("name", NAMES)
def test_updating_in_batches_equals_one_batch(name):
    metric = MetricsRegistry().get(name)
    state = metric.init()
    for rows in np.array_split(np.arange(N), 4):
        for side in metric.needs:
            state = metric.update(state, {side: SETS[side][rows], "index": rows}, np.ones(len(rows)))
    same(metric.compute(state), metric.compute(part(metric, np.arange(N))), name)


@pytest.mark.parametrize("name", [name for name in NAMES if "fake" in MetricsRegistry().get(name).needs])
def test_a_set_against_itself_gives_the_ideal_value(name):
    metric = MetricsRegistry().get(name)
    rows = RNG.normal(size=(N, 3))
    state = metric.update(metric.init(), {"real": rows, "fake": rows, "index": np.arange(N)}, np.ones(N))
    found = metric.compute(state)
    if name in IDEAL:
        assert found.value == pytest.approx(IDEAL[name], abs=1e-9)
    else:  # the pairs of a row with itself count across, not within: a little below 0
        assert -1 < found.value <= 0


@pytest.mark.parametrize("name", NAMES)
def test_a_row_that_is_not_finite_is_an_error_and_never_a_number(name):
    metric = MetricsRegistry().get(name)
    side = min(metric.needs)
    rows = np.where(np.arange(N) == 3, np.nan, SETS[side].T).T
    with pytest.raises(ValueError, match=r"expected finite .*, got NaN or infinity"):
        metric.update(metric.init(), {side: rows, "index": np.arange(N)}, np.ones(N))


@pytest.mark.parametrize("name", NAMES)
def test_the_empty_set_is_refused(name):
    metric = MetricsRegistry().get(name)
    with pytest.raises(ValueError, match=r"expected at least \d+ rows of data, got 0"):
        metric.compute(metric.init())


def test_the_table_has_the_metrics_of_core():
    core = {"scores", "nll", "bits_per_dim", "reconstruction", "FD", "KD", "energy"}
    assert core | {"precision", "recall", "density", "coverage"} <= set(NAMES)
