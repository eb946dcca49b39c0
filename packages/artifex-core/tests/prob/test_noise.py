import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from artifex.core.prob import noise
from artifex.core.prob.noise import RowRngs, row_keys, stream_key

N = 4000
P = np.array([0.2, 0.5, 0.3])

DRAWS = {
    "normal": lambda rngs, n: noise.normal(rngs, (n, 3)),
    "uniform": lambda rngs, n: noise.uniform(rngs, (n, 3)),
    "categorical": lambda rngs, n: noise.categorical(rngs, jnp.zeros((n, 3, 5))),
    "bernoulli": lambda rngs, n: noise.bernoulli(rngs, jnp.full((n, 3), 0.5)),
}
every_draw = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)


@every_draw
def test_a_row_does_not_depend_on_how_many_there_are(draw):
    assert np.array_equal(draw(nnx.Rngs(0), 4), draw(nnx.Rngs(0), 9)[:4])


@every_draw
def test_a_chunk_that_starts_at_row_k_continues_the_whole(draw):
    key = jax.random.key(5)
    assert np.array_equal(draw(RowRngs(key, 3), 4), draw(RowRngs(key), 9)[3:7])


@every_draw
def test_rows_differ_and_so_do_two_draws_and_two_seeds(draw):
    rngs = nnx.Rngs(0)
    first, second = draw(rngs, 200), draw(rngs, 200)
    assert len(np.unique(np.asarray(first), axis=0)) > 5
    assert (np.asarray(first) != np.asarray(second)).mean() > 0.4
    assert (np.asarray(first) != np.asarray(draw(nnx.Rngs(1), 200))).mean() > 0.4


@every_draw
def test_the_noise_is_the_same_under_a_trace(draw):
    assert np.array_equal(jax.jit(lambda key: draw(RowRngs(key), 5))(jax.random.key(2)), draw(nnx.Rngs(2), 5))


def test_normal_noise_is_standard_normal():
    drawn = np.asarray(noise.normal(nnx.Rngs(0), (N, 4))).ravel()
    assert stats.kstest(drawn, "norm").pvalue > 1e-3


def test_uniform_noise_is_uniform():
    drawn = np.asarray(noise.uniform(nnx.Rngs(0), (N, 4))).ravel()
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    assert drawn.min() >= 0
    assert drawn.max() < 1


def test_levels_come_with_the_probabilities_of_their_logits():
    logits = jnp.broadcast_to(jnp.log(P), (N, 2, 3))
    drawn = np.asarray(noise.categorical(nnx.Rngs(0), logits)).ravel()
    assert stats.chisquare(np.bincount(drawn, minlength=3), 2 * N * P).pvalue > 1e-3


def test_coins_come_up_with_their_probability():
    drawn = np.asarray(noise.bernoulli(nnx.Rngs(0), jnp.full((N, 2), 0.2)))
    assert drawn.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / (2 * N)))  # four standard errors


def test_neighbouring_rows_are_uncorrelated():
    drawn = np.asarray(noise.normal(nnx.Rngs(0), (N, 2)))
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 4 / np.sqrt(N)
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 4 / np.sqrt(N)


def test_a_missing_stream_comes_from_params_and_streams_differ():
    key = jax.random.key(0)
    words = {
        name: jax.random.key_data(stream_key(nnx.Rngs(params=key), name)).tolist() for name in ("noise", "dropout")
    }
    assert words["noise"] != words["dropout"]
    assert words["noise"] == jax.random.key_data(stream_key(nnx.Rngs(params=key), "noise")).tolist()


def test_a_stream_of_its_own_is_used_where_there_is_one():
    rngs = nnx.Rngs(params=0, noise=7)
    expected = row_keys(nnx.Rngs(noise=7), 3)
    assert np.array_equal(jax.random.key_data(row_keys(rngs, 3)), jax.random.key_data(expected))


def test_rngs_without_a_usable_stream_are_refused():
    with pytest.raises(ValueError, match=r"stream_key: expected an nnx.Rngs with the stream 'noise', .* got \['sde'\]"):
        stream_key(nnx.Rngs(sde=0), "noise")
