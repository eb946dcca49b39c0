"""The spline against its formula in float64, other libraries, and differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from artifex.flow.spline import Spline

BINS, BOUND, N = 8, 3.0, 400
SPLINE = Spline(BINS, BOUND)


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    """400 random splines, [param, spline], and a number for each in ±6.5."""
    rng = np.random.default_rng(0)
    return rng.uniform(-6.5, 6.5, N), 1.5 * rng.standard_normal((SPLINE.n_params, N))


def knots(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Knots x, y and slopes of one spline by eq. 1 and 2, in float64."""

    def corners(raw):
        share = np.exp(raw - raw.max())
        share = 1e-3 + (1 - 1e-3 * BINS) * share / share.sum()
        return BOUND * (2 * np.concatenate([[0], np.cumsum(share)]) - 1)

    slopes = 1e-3 + np.logaddexp(0, raw[2 * BINS :] + np.log(np.expm1(1 - 1e-3)))
    return corners(raw[:BINS]), corners(raw[BINS : 2 * BINS]), np.concatenate([[1], slopes, [1]])


def formula(x: float, raw: np.ndarray) -> tuple[float, float]:
    """(z, log dz/dx) of one number by eq. 3 and 4 in float64."""
    if abs(x) > BOUND:
        return x, 0.0
    xs, ys, slopes = knots(raw)
    k = int(np.clip(np.searchsorted(xs, x, side="right") - 1, 0, BINS - 1))
    w, h, d0, d1 = xs[k + 1] - xs[k], ys[k + 1] - ys[k], slopes[k], slopes[k + 1]
    s, xi = h / w, (x - xs[k]) / w
    below = s + (d1 + d0 - 2 * s) * xi * (1 - xi)
    z = ys[k] + h * (s * xi**2 + d0 * xi * (1 - xi)) / below
    return z, np.log(s**2 * (d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2) / below**2)


def errors(ours, x: np.ndarray, raw: np.ndarray) -> np.ndarray:
    """|error| of z and log slope, [2, spline]."""
    exact = np.array([formula(a, b) for a, b in zip(x, raw.T, strict=True)]).T
    return np.abs(np.stack([np.asarray(part, float) for part in ours]) - exact)


def in_dtype(case, dtype) -> tuple[jax.Array, jax.Array]:
    return tuple(jnp.asarray(part, dtype) for part in case)


def test_value_and_slope_are_those_of_the_formula(x64, case):
    found = jax.jit(SPLINE.forward)(*in_dtype(case, jnp.float64))
    assert errors(found, *case).max() < 1e-10


def test_the_inverse_undoes_the_spline_with_the_opposite_slope(x64, case):
    x, raw = in_dtype(case, jnp.float64)
    z, log_slope = jax.jit(SPLINE.forward)(x, raw)
    again, back = jax.jit(SPLINE.inverse)(z, raw)
    assert float(jnp.abs(again - x).max()) < 1e-10
    assert float(jnp.abs(back + log_slope).max()) < 1e-10


def test_float32_is_within_a_millionth_for_most_numbers(case):
    x, raw = (part.astype(np.float32) for part in case)
    found = jax.jit(SPLINE.forward)(jnp.asarray(x), jnp.asarray(raw))
    error = errors(found, x.astype(float), raw.astype(float))
    assert np.median(error) < 1e-6
    assert error.max() < 1e-4  # beside a knot between very unequal bins; the other libraries' errors are alike


PLACES = {"beyond all": 1e200, "far": 1e6, "just outside": BOUND + 1e-5, "middle": 0.0, "inside": 1.234}


@pytest.fixture(scope="module")
def slopes_at(case):
    """(gradient, central difference) of 1 · z + 0.7 · log slope by x and by the numbers, at a place."""
    raw = case[1][:, 0]

    def total(x, raw):
        z, log_slope = SPLINE.forward(x, raw)
        return z + 0.7 * log_slope

    with jax.enable_x64(True):
        gradient, evaluate = jax.jit(jax.grad(total, (0, 1))), jax.jit(jax.vmap(total))

    def both(at: float) -> tuple[np.ndarray, np.ndarray]:
        step = 1e-6
        points = np.concatenate([[at], raw]) + step * np.stack([np.eye(1 + len(raw)), -np.eye(1 + len(raw))])
        with jax.enable_x64(True):
            by_x, by_raw = gradient(jnp.asarray(at), jnp.asarray(raw))
            up, down = (np.asarray(evaluate(jnp.asarray(p[:, 0]), jnp.asarray(p[:, 1:]))) for p in points)
        return np.concatenate([[by_x], by_raw]), (up - down) / (2 * step)

    return both


@pytest.mark.parametrize("at", PLACES.values(), ids=PLACES.keys())
def test_gradients_are_those_of_differences(slopes_at, at):
    gradient, difference = slopes_at(at)
    # Rounding of z, 1e-16 |x|, over twice the step.
    np.testing.assert_allclose(gradient, difference, atol=1e-6 + 1e-10 * abs(at))


@pytest.mark.parametrize("at", ["edge", "knot"])
def test_gradients_between_two_pieces_are_those_of_one_side(slopes_at, case, at):
    place = {"edge": BOUND, "knot": knots(case[1][:, 0])[0][3]}[at]
    gradient, _ = slopes_at(place)
    sides = [slopes_at(place + shift)[0] for shift in (-1e-9, 1e-9)]
    # The gradient of the log slope jumps there; it must be that of either piece.
    assert min(np.abs(gradient - side).max() for side in sides) < 1e-6


def test_numbers_of_zero_give_the_identity(x64):
    x = jnp.linspace(-5, 5, 101)
    z, log_slope = SPLINE.forward(x, jnp.zeros((SPLINE.n_params, 101)))
    np.testing.assert_allclose(z, x, atol=1e-14)
    np.testing.assert_allclose(log_slope, 0, atol=1e-14)


def test_a_circular_spline_has_one_slope_at_both_ends(x64):
    spline = Spline(5, np.pi, circular=True)
    raw = jnp.asarray(np.random.default_rng(0).standard_normal((spline.n_params, 1)))
    ends = jnp.asarray([-np.pi, np.pi])
    z, log_slope = spline.forward(ends, jnp.broadcast_to(raw, (spline.n_params, 2)))
    np.testing.assert_allclose(z, ends, atol=1e-14)
    assert abs(float(log_slope[0] - log_slope[1])) < 1e-12
    assert abs(float(log_slope[0])) > 0.05  # free, unlike a slope of 1


def test_too_many_bins_are_refused():
    with pytest.raises(
        ValueError, match=r"expected bins >= 1, bound > 0 and bins × minimum width < 1, got 1000, 3.0 and 1"
    ):
        Spline(1000)


class TestPeers:
    """The same splines in other libraries: in float64 to 1e-10, in float32 at most twice the best one's error."""

    @staticmethod
    def distrax(x, raw, dtype):
        distrax = pytest.importorskip("distrax")
        # Its slopes are 1e-4 + softplus(u + log(e^(1 - 1e-4) - 1)), so u is chosen to give ours.
        slopes = np.stack([knots(column)[2] for column in raw.T])
        u = np.log(np.expm1(slopes - 1e-3)) - np.log(np.expm1(1 - 1e-3))
        params = np.concatenate([raw[: 2 * BINS].T, u], -1)
        spline = distrax.RationalQuadraticSpline(
            jnp.asarray(params, dtype),
            -BOUND,
            BOUND,
            boundary_slopes="identity",
            min_bin_size=1e-3 * 2 * BOUND,
            min_knot_slope=1e-3,
        )
        return spline.forward_and_log_det(jnp.asarray(x, dtype))

    @staticmethod
    def nflows(x, raw, dtype):
        torch = pytest.importorskip("torch")
        splines = pytest.importorskip("nflows.transforms.splines.rational_quadratic")
        kind = {np.float32: torch.float32, np.float64: torch.float64}[dtype]
        offset = np.log(np.expm1(1 - 1e-3))
        w, h, d = (torch.tensor(part.T, dtype=kind) for part in np.split(raw, [BINS, 2 * BINS]))
        z, log_slope = splines.unconstrained_rational_quadratic_spline(
            torch.tensor(x, dtype=kind), w, h, d + offset, tails="linear", tail_bound=BOUND
        )
        return z.numpy(), log_slope.numpy()

    @staticmethod
    def zuko(x, raw, dtype):
        torch = pytest.importorskip("torch")
        transforms = pytest.importorskip("zuko.transforms")
        kind = {np.float32: torch.float32, np.float64: torch.float64}[dtype]
        sides = [np.stack([knots(column)[i] for column in raw.T]) for i in range(3)]
        spline = transforms.MonotonicRQSTransform.__new__(transforms.MonotonicRQSTransform)
        torch.distributions.Transform.__init__(spline)
        spline.horizontal, spline.vertical, spline.derivatives = (torch.tensor(side, dtype=kind) for side in sides)
        z, log_slope = spline.call_and_ladj(torch.tensor(x, dtype=kind))
        return z.numpy(), log_slope.numpy()

    @staticmethod
    def flowjax(x, raw, dtype):
        bijections = pytest.importorskip("flowjax.bijections")
        equinox = pytest.importorskip("equinox")
        start = bijections.RationalQuadraticSpline(knots=BINS, interval=BOUND)
        places = ("x_pos", "y_pos", "derivatives")

        def one(x, sides):
            at = equinox.tree_at(lambda s: tuple(getattr(s, place) for place in places), start, sides)
            return at.transform_and_log_det(x)

        sides = tuple(jnp.asarray(np.stack([knots(column)[i] for column in raw.T]), dtype) for i in range(3))
        return jax.vmap(one)(jnp.asarray(x, dtype), sides)

    @pytest.mark.parametrize("peer", ["distrax", "nflows", "zuko", "flowjax"])
    def test_float64(self, x64, case, peer):
        theirs = getattr(self, peer)(*case, np.float64)
        ours = jax.jit(SPLINE.forward)(*in_dtype(case, jnp.float64))
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-10)

    def test_float32(self, case):
        x, raw = (part.astype(np.float32) for part in case)
        exact = (x.astype(float), raw.astype(float))
        ours = errors(jax.jit(SPLINE.forward)(jnp.asarray(x), jnp.asarray(raw)), *exact).max()
        found = {peer: errors(getattr(self, peer)(x, raw, np.float32), *exact).max() for peer in ("distrax", "nflows")}
        assert ours <= 2 * min(found.values()), (ours, found)
