import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from artifex.core.prob import gaussian
from artifex.core.prob.gaussian import Gaussian

N = 200_000


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    return tuple(
        Gaussian(jnp.asarray(rng.normal(size=(3, 2, 2)), jnp.float32), jnp.asarray(rng.normal(size=(3, 2, 2)) * 0.4))
        for _ in range(2)
    )


def repeated(q):
    """Row 0 of q, N times."""
    return Gaussian(*(jnp.broadcast_to(part[:1], (N, *part.shape[1:])) for part in q))


def test_log_prob_equals_scipy_summed_over_the_event(pair):
    q, p = pair
    expected = stats.norm(q.mean, np.exp(q.log_std)).logpdf(np.asarray(p.mean)).sum((1, 2))
    assert np.allclose(gaussian.log_prob(q, p.mean), expected, rtol=1e-5)


def test_samples_have_the_mean_and_the_spread_of_the_gaussian(pair):
    q = pair[0]
    drawn = np.asarray(gaussian.sample(repeated(q), nnx.Rngs(0)))
    error = 5 * np.exp(q.log_std[0]) / np.sqrt(N)  # five standard errors
    assert (np.abs(drawn.mean(0) - q.mean[0]) < error).all()
    assert (np.abs(drawn.std(0) - np.exp(q.log_std[0])) < error).all()


def test_a_row_of_a_sample_does_not_depend_on_the_rows_beside_it(pair):
    q = pair[0]
    two = Gaussian(q.mean[:2], q.log_std[:2])
    assert np.array_equal(gaussian.sample(q, nnx.Rngs(3))[:2], gaussian.sample(two, nnx.Rngs(3)))


def test_kl_equals_its_monte_carlo_estimate(pair):
    q, p = (repeated(part) for part in pair)
    x = gaussian.sample(q, nnx.Rngs(1))
    terms = np.asarray(gaussian.log_prob(q, x) - gaussian.log_prob(p, x), np.float64)
    assert float(gaussian.kl(*pair)[0]) == pytest.approx(terms.mean(), abs=5 * terms.std() / np.sqrt(N))


def test_kl_to_the_standard_normal_is_the_general_kl(pair):
    q = pair[0]
    assert np.allclose(gaussian.kl_to_standard_normal(q), gaussian.kl(q, gaussian.standard_like(q)), rtol=1e-5)


def test_kl_is_zero_from_a_gaussian_to_itself_and_positive_elsewhere(pair):
    q, p = pair
    assert np.abs(gaussian.kl(q, q)).max() < 1e-6
    assert float(gaussian.kl_to_standard_normal(gaussian.standard_like(q)).max()) == 0
    assert float(gaussian.kl(q, p).min()) > 0.5


def test_the_terms_of_the_kl_add_up_to_it(pair):
    assert np.allclose(gaussian.kl_entries(*pair).sum((1, 2)), gaussian.kl(*pair), rtol=1e-6)


def test_the_gradient_of_kl_to_the_standard_normal_is_the_hand_written_one(pair):
    q = pair[0]
    gradient = jax.grad(lambda q: gaussian.kl_to_standard_normal(q).sum())(q)
    assert np.allclose(gradient.mean, q.mean, rtol=1e-5)
    assert np.allclose(gradient.log_std, np.exp(2 * q.log_std) - 1, atol=1e-5)


def test_the_product_is_proportional_to_the_product_of_densities(pair):
    q, p = pair
    both = gaussian.product(q, p)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(20, 2, 2)), jnp.float32)
    one = lambda g, row: Gaussian(*(jnp.broadcast_to(part[row], x.shape) for part in g))  # noqa: E731
    for row in range(3):
        ratio = sum(gaussian.log_prob(one(g, row), x) for g in (q, p)) - gaussian.log_prob(one(both, row), x)
        assert float(ratio.std()) < 1e-4  # float32 sums of about 10


def test_the_product_of_a_wide_and_a_narrow_gaussian_is_the_narrow_one():
    narrow = Gaussian(jnp.full((1, 1), 3.0), jnp.full((1, 1), -5.0))
    wide = Gaussian(jnp.full((1, 1), -40.0), jnp.full((1, 1), 40.0))
    both = gaussian.product(narrow, wide)
    assert float(both.mean[0, 0]) == pytest.approx(3.0)
    assert float(both.log_std[0, 0]) == pytest.approx(-5.0)
