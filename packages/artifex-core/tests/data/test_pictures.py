import jax
import numpy as np
import pytest

from artifex.core.data.pictures import draw_pixels, labelled_pictures

LEVELS = np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 4, 4, 1)
X = np.repeat(LEVELS, 3, axis=0)
Y = np.arange(3, dtype=np.int32)


def source_of(**options):
    return labelled_pictures(X, Y, name="t", levels=256, **options)


def test_threshold_is_one_half():
    x = source_of(binarise="threshold").arrays["x"]
    assert np.array_equal(x, X >= 0.5)


def test_drawn_pixels_are_binary_and_have_the_grey_level_as_mean():
    batch = {"x": np.repeat(LEVELS, 4000, axis=0), "y": np.zeros(4000)}
    drawn = draw_pixels(batch, jax.random.key(0))["x"]
    assert set(np.unique(drawn)) == {0.0, 1.0}
    # standard error at most 0.5/√4000 = 0.008: five of them
    assert np.abs(np.mean(drawn, axis=0) - LEVELS[0]).max() < 0.04


def test_training_pixels_are_drawn_in_the_step_and_held_out_ones_once():
    fresh, fixed = (source_of(binarise="stochastic", fresh=fresh) for fresh in (True, False))
    assert fresh.transform is draw_pixels
    assert np.array_equal(fresh.arrays["x"], X)
    assert fixed.transform is None
    assert np.array_equal(fixed.arrays["x"], source_of(binarise="stochastic", fresh=False).arrays["x"])
    assert set(np.unique(fixed.arrays["x"])) == {0.0, 1.0}


@pytest.mark.parametrize(("binarise", "levels"), [("none", 256), ("threshold", 2), ("stochastic", 2)])
def test_spec_says_how_many_levels_there_are(binarise, levels):
    spec = source_of(binarise=binarise).spec
    assert (spec.levels, spec.low, spec.high, spec.n_classes) == (levels, 0.0, 1.0, 10)


def test_flat_pictures_are_the_same_numbers():
    source = source_of(flat=True)
    assert np.array_equal(source.arrays["x"], X.reshape(3, 16))
    assert (source.spec.shape, source.spec.kind) == ((16,), "vector")


def test_digests_of_binarisations_differ():
    assert len({source_of(binarise=b).digest for b in ("none", "threshold", "stochastic")}) == 3
