import math

import numpy as np
import pytest

from artifex.core.data import toys
from artifex.core.data.toys import TOYS
from artifex.core.errors import ConfigError

# A box that holds all but 1e-6 of the mass, and points a side for the trapezium rule, which is exact to 1e-9 for
# Gaussians when points are less than one standard deviation apart.
BOXES = {
    "eight_gaussians": ((-3.5, 3.5), (-3.5, 3.5), 120),
    "twenty_five_gaussians": ((-4.5, 4.5), (-4.5, 4.5), 250),
    "rings": ((-2.6, 2.6), (-2.6, 2.6), 110),
    "two_moons": ((-1.6, 2.6), (-1.1, 1.6), 110),
    "banana": ((-11.0, 11.0), (-4.5, 33.0), 160),
}
N = 20_000


@pytest.fixture(scope="module", params=sorted(TOYS))
def named(request):
    return request.param, TOYS[request.param].sample(N, seed=1)


def plane(name):
    """Points of a grid over the box and the area of its cells."""
    (a, b), (c, d), n = BOXES[name]
    u, v = np.linspace(a, b, n), np.linspace(c, d, n)
    points = np.stack(np.meshgrid(u, v, indexing="ij"), -1).reshape(-1, 2)
    return points, (u[1] - u[0]) * (v[1] - v[0])


@pytest.mark.parametrize("name", sorted(BOXES))
def test_density_integrates_to_one(name):
    points, area = plane(name)
    assert np.exp(TOYS[name].log_prob(points)).sum() * area == pytest.approx(1, abs=1e-5)


def test_checkerboard_integrates_to_one():
    axis = np.arange(-5, 5, 0.1) + 0.05  # midpoints of cells that no edge cuts
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    assert np.exp(TOYS["checkerboard"].log_prob(points)).sum() * 0.01 == pytest.approx(1, abs=1e-12)


def test_funnel_integrates_to_one():
    v, w = np.linspace(-8, 8, 120), np.linspace(-9, 9, 900)
    u = np.sinh(w)  # points crowd at 0, where the funnel is narrow
    points = np.stack(np.meshgrid(v, u, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(TOYS["funnel"].log_prob(points)).reshape(120, 900) * np.cosh(w)
    assert np.trapezoid(np.trapezoid(density, w), v) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", sorted(BOXES))
def test_moments_of_samples_are_those_of_the_density(name):
    points, area = plane(name)
    weight = np.exp(TOYS[name].log_prob(points)) * area
    drawn = TOYS[name].sample(N, seed=2).astype(float)
    features = [lambda x: x[:, 0], lambda x: x[:, 1], lambda x: x[:, 0] * x[:, 1], lambda x: np.cos(3 * x).prod(1)]
    for feature in features:
        mean = (weight * feature(points)).sum()
        error = feature(drawn).std() / math.sqrt(N)
        assert abs(feature(drawn).mean() - mean) < 4.5 * error + 1e-4  # 1e-4: what the box leaves out


def test_log_prob_of_samples_is_finite_in_float64(named):
    name, x = named
    log_prob = TOYS[name].log_prob(x)
    assert x.dtype == np.float32
    assert log_prob.dtype == np.float64
    assert log_prob.min() > -40


@pytest.mark.parametrize("name", ["twenty_five_gaussians", "checkerboard", "banana", "funnel"])
def test_entropy_is_the_mean_of_minus_log_prob(name):
    toy = TOYS[name]
    minus = -toy.log_prob(toy.draw(np.random.default_rng(3), N))
    assert minus.mean() == pytest.approx(toy.entropy, abs=4.5 * minus.std() / math.sqrt(N) + 1e-9)


def test_log_prob_at_a_centre_is_that_of_one_gaussian():
    log_prob = TOYS["twenty_five_gaussians"].log_prob(np.array([[2.0, -4.0]]))
    assert log_prob[0] == pytest.approx(-math.log(25) - math.log(2 * math.pi * 0.05**2), rel=1e-12)


def test_density_of_rings_is_the_bessel_form():
    # A Gaussian around a circle of radius R: p(r) = exp(-(r² + R²)/2s²) I₀(rR/s²) / 2πs²
    ive = pytest.importorskip("scipy.special").ive
    r, s = np.linspace(0.5, 2.5, 41), 0.08
    rings = [np.exp(-((r - big) ** 2) / (2 * s**2)) * ive(0, r * big / s**2) / (2 * np.pi * s**2) for big in (1.0, 2.0)]
    angle = 0.7
    points = r[:, None] * np.array([[math.cos(angle), math.sin(angle)]])
    assert np.allclose(np.exp(TOYS["rings"].log_prob(points)), np.mean(rings, axis=0), rtol=1e-9, atol=1e-12)


def test_far_away_points_have_a_finite_log_prob():
    assert TOYS["two_moons"].log_prob(np.array([[50.0, 0.0]]))[0] == pytest.approx(-0.5 * (48 / 0.08) ** 2, rel=0.05)


def test_checkerboard_squares_touch_at_corners_only():
    centres = np.array([[-3.0, -3.0], [-1.0, -3.0], [-1.0, -1.0], [1.0, 1.0], [5.0, 1.0]])
    inside = np.isfinite(TOYS["checkerboard"].log_prob(centres))
    assert np.array_equal(inside, [True, False, True, True, False])


def test_samples_depend_on_seed_and_split_alone():
    train, again, test, other = (
        toys.banana("train", n=50, seed=4),
        toys.banana("train", n=50, seed=4),
        toys.banana("test", n=50, seed=4),
        toys.banana("train", n=50, seed=5),
    )
    assert train.digest == again.digest
    assert len({train.digest, test.digest, other.digest}) == 3


def test_bounds_are_those_of_the_board():
    spec = toys.checkerboard(n=5).spec
    assert (spec.low, spec.high, spec.shape) == (-4.0, 4.0, (2,))


@pytest.mark.parametrize(
    ("options", "sentence"), [({"n": 0}, "expected n >= 1"), ({"split": "all"}, "train or test, got")]
)
def test_options_that_mean_nothing_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=f"rings: .*{sentence}"):
        toys.rings(**options)
