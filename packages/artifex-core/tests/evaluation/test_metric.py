import numpy as np
import pytest

from artifex.core.evaluation.metric import Kept, TooFewRows, hashed, need_at_least, need_one_width, real_rows

ROWS = np.arange(12.0).reshape(6, 2)


def kept(index, k=100):
    return Kept.none().add(np.array(index), ROWS[np.array(index)], k)


def test_all_rows_are_kept_up_to_k_and_the_lowest_hashes_beyond():
    assert sorted(kept(range(6)).index.tolist()) == [0, 1, 2, 3, 4, 5]
    lowest = np.argsort(hashed(np.arange(6)))[:2]
    assert kept(range(6), 2).index.tolist() == lowest.tolist()


def test_what_is_kept_does_not_depend_on_the_order():
    a, b = kept([3, 0, 5], 4), kept([1, 4, 2], 4)
    both, other = a.join(b, 4), b.join(a, 4)
    assert np.array_equal(both.rows, other.rows)
    assert np.array_equal(both.rows, kept(range(6), 4).rows)
    assert np.array_equal(both.rows, ROWS[both.index])


def test_hashes_are_a_random_looking_order_without_repeats():
    hashes = hashed(np.arange(100_000))
    assert len(np.unique(hashes)) == 100_000
    chosen = np.argsort(hashes)[:10_000]
    assert chosen.mean() == pytest.approx(50_000, rel=0.02)  # five standard errors are 1.7 %


def test_the_hash_is_splitmix64():
    # The first output of the published generator from seed 0.
    assert int(hashed(np.array([0]))[0]) == 0xE220A8397B1DCDAF


def test_rows_that_do_not_count_may_be_anything():
    index, rows = real_rows(np.array([1.0, np.nan, 3.0]), np.array([7, 8, 9]), np.array([1, 0, 1]), "values")
    assert index.tolist() == [7, 9]
    assert rows.tolist() == [1.0, 3.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_counts_must_be_finite(bad):
    with pytest.raises(ValueError, match="metric: expected finite elbo, got NaN or infinity"):
        real_rows(np.array([1.0, bad]), np.arange(2), np.ones(2), "elbo")


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="of one length, got 2, 3 and 3"):
        real_rows(np.zeros(2), np.arange(3), np.ones(3), "elbo")


def test_too_few_rows_and_two_widths_are_refused_by_name():
    with pytest.raises(TooFewRows, match="KD: expected at least 20 rows of samples, got 3"):
        need_at_least("KD", 20, data=20, samples=3)
    with pytest.raises(ValueError, match="KD: expected rows of one width, got 4 and 5"):
        need_one_width("KD", 4, 5)


def test_rows_of_two_widths_do_not_join():
    with pytest.raises(ValueError, match="expected rows of one width, got 2 and 3"):
        kept([0]).add(np.array([1]), np.zeros((1, 3)), 9)
