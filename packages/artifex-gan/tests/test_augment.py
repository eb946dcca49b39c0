"""Augmentations against their definitions, and the rule that moves p."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.gan.augment import ADA, DiffAugment, change_colour, draw_colour, draw_place, hue_turn, reflected, warp

SIDE = 16


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (6, SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    """A picture of one cycle a side, below the pass band of the filters."""
    p = 2 * np.pi * (np.arange(SIDE) + 0.5) / SIDE
    return (np.sin(p)[:, None] + np.cos(p + 0.3) + np.sin(p[:, None] + p + 1))[None, :, :, None].astype(np.float32)


def warped(x: np.ndarray, place: list[list[float]]) -> np.ndarray:
    return np.asarray(jax.jit(warp)(jnp.asarray(x), jnp.asarray([place], jnp.float32)))


def test_while_p_is_zero_nothing_changes_a_bit(x):
    np.testing.assert_array_equal(jax.jit(lambda x: ADA()(x, nnx.Rngs(0)))(x), x)


def test_rows_where_nothing_happens_are_not_resampled(x):
    many = np.tile(x, (8, 1, 1, 1))
    changed = np.asarray(jax.jit(lambda x: ADA(p=0.05)(x, nnx.Rngs(0)))(many))
    same = (changed == many).reshape(len(many), -1).all(1)
    # Seven changes of place, of which two make one, and five of colour: (1 − p)^12 = 0.54 stay; 48 rows, 4 deviations.
    assert abs(same.mean() - 0.95**12) < 4 * np.sqrt(0.25 / 48)


@pytest.mark.parametrize(("logits", "moves"), [([1, 1, 1, 1], 1), ([1, 1, 1, -1], -1), ([-1, -1, -1, -1], -1)])
def test_p_rises_exactly_when_the_mean_sign_is_above_the_target(logits, moves):
    ada = ADA(target=0.6, p=0.5)
    ada.observe(jnp.asarray(logits, jnp.float32))
    ada.move(64)
    np.testing.assert_allclose(ada.p[...], 0.5 + moves * 64 / 500_000, rtol=1e-6)


def test_p_stays_within_zero_and_one_and_still_at_the_target():
    for p, sign in ((0.0, -1.0), (1.0, 1.0)):
        ada = ADA(target=0.0, p=p)
        ada.observe(jnp.full(4, sign))
        ada.move(1000)
        assert float(ada.p[...]) == p
    still = ADA(target=0.5, p=0.25)
    still.observe(jnp.asarray([1.0, 1.0, 1.0, -1.0]))
    still.move(1000)
    assert float(still.p[...]) == 0.25


def test_evaluation_observes_nothing():
    ada = ADA(p=0.5)
    ada.eval()
    ada.observe(jnp.ones(4))
    assert float(ada.sign[...]) == 0


def test_changes_happen_with_their_probability():
    p, keys = 0.15, jax.random.split(jax.random.key(0), 4000)
    places = jax.jit(jax.vmap(lambda key: draw_place(key, jnp.asarray(p), 64)[1]))(keys)
    colours = jax.jit(jax.vmap(lambda key: draw_colour(key, jnp.asarray(p), 3)[1]))(keys)
    tolerance = 4 * np.sqrt(0.25 / 4000)  # four deviations
    assert abs(float(places.mean()) - (1 - 0.85**7)) < tolerance
    assert abs(float(colours.mean()) - (1 - 0.85**5)) < tolerance


def test_places_keep_area_but_for_the_scale():
    keys = jax.random.split(jax.random.key(1), 500)
    place, _ = jax.jit(jax.vmap(lambda key: draw_place(key, jnp.asarray(1.0), 64)))(keys)
    area = np.abs(np.linalg.det(np.asarray(place, float)[:, :, :2]))
    # The determinant is 2^(0.4 ε): mean 0 and deviation 0.4 in binary logarithm.
    assert abs(np.log2(area).mean()) < 4 * 0.4 / np.sqrt(500)
    assert np.log2(area).std() == pytest.approx(0.4, rel=0.15)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ([[1, 0, 0], [0, 1, 0]], lambda x: x),
        ([[-1, 0, 0], [0, 1, 0]], lambda x: x[:, :, ::-1]),
        ([[0, -1, 0], [1, 0, 0]], lambda x: np.rot90(x, 1, (1, 2))),
    ],
)
def test_flips_and_quarter_turns_move_pixels(smooth, place, expected):
    # Bilinear steps of half a pixel at one cycle in 16: (2π/32)² / 8 is 0.5 % of the amplitude; borders are mirrored.
    np.testing.assert_allclose(warped(smooth, place)[:, 3:-3, 3:-3], expected(smooth)[:, 3:-3, 3:-3], atol=0.04)


def test_a_shift_moves_pixels(smooth):
    moved = warped(smooth, [[1, 0, 2], [0, 1, -3]])
    np.testing.assert_allclose(moved[:, 6:-3, 3:-5], smooth[:, 3:-6, 5:-3], atol=0.04)


def test_borders_are_mirrored():
    np.testing.assert_allclose(reflected(jnp.asarray([-1.0, -0.5, 0.0, 7.5, 8.0, 9.0]), 8), [0, -0.5, 0, 7.5, 7, 6])


def test_a_third_of_a_hue_turn_swaps_channels():
    np.testing.assert_allclose(hue_turn(jnp.asarray(2 * np.pi / 3)), np.eye(3)[[2, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(hue_turn(jnp.asarray(0.7)) @ jnp.ones(3), 1, atol=1e-6)


def test_translation_moves_by_an_eighth_at_most(x):
    moved = np.asarray(DiffAugment(("translation",))(jnp.asarray(x), nnx.Rngs(0)))
    for row, one in zip(x, moved, strict=True):
        padded = np.pad(row, ((2, 2), (2, 2), (0, 0)))
        shifts = [padded[2 - i : 2 - i + SIDE, 2 - j : 2 - j + SIDE] for i in range(-2, 3) for j in range(-2, 3)]
        assert min(np.abs(one - shift).max() for shift in shifts) == 0
    assert not np.array_equal(moved, x)


def test_cutout_removes_a_square_of_half_the_side():
    cut = np.asarray(DiffAugment(("cutout",))(jnp.ones((32, SIDE, SIDE, 1)), nnx.Rngs(0))) == 0
    sides = np.stack([cut.any(a).sum(1)[..., 0] for a in (1, 2)])
    assert sides.max() == SIDE // 2
    np.testing.assert_array_equal(cut.sum((1, 2, 3)), sides.prod(0))


def test_colour_is_its_formula(x):
    keys = jax.random.split(jax.random.key(3), 1)
    b, s, c = np.asarray(jax.random.uniform(keys[0], (3,)), float)
    from_definition = x[0] + b - 0.5
    grey = from_definition.mean(-1, keepdims=True)
    from_definition = grey + 2 * s * (from_definition - grey)
    from_definition = from_definition.mean() + (c + 0.5) * (from_definition - from_definition.mean())
    np.testing.assert_allclose(change_colour(keys[0], jnp.asarray(x[0])), from_definition, atol=1e-5)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match=r"policy of \['colour', 'cutout', 'translation'\], got 'color'"):
        DiffAugment(("color",))
    with pytest.raises(ValueError, match=r"'target' in \[−1, 1\] and 'p' in \[0, 1\], got 0.6 and 2"):
        ADA(p=2.0)
