import numpy as np
import pytest

from artifex.core.evaluation.extractor import Extractor, pixels

X = np.arange(24.0).reshape(2, 3, 4, 1)


def test_pixels_are_the_entries_in_float64():
    found = pixels.features(X.astype(np.float32))
    assert found.dtype == np.float64
    assert np.array_equal(found, X.reshape(2, 12))


def test_the_key_holds_the_digest_of_the_weights_where_there_are_some():
    assert pixels.key == "pixels"
    assert Extractor("net", 1, "0123456789abcdef", 4, np.asarray).key == "net@0123456789ab"


def test_features_of_another_shape_are_refused():
    broken = Extractor("net", 1, "", 5, lambda x: x.reshape(len(x), -1))
    with pytest.raises(ValueError, match=r"Extractor net: expected features of shape \(2, 5\), got \(2, 12\)"):
        broken.features(X)
    with pytest.raises(ValueError, match=r"got \(2, 3, 4, 1\)"):
        Extractor("net", 1, "", None, np.asarray).features(X)
