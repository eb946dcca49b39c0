"""StyleGAN3: the paper's tables, its layers against plain definitions, and equivariance at random weights."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.leaves import flatten, merge
from artifex.core.training.objective import StepContext
from artifex.gan.equalised import leaky
from artifex.gan.equivariance import rotation_equivariance, translation_equivariance
from artifex.gan.filters import resample
from artifex.gan.stylegan3 import (
    FourierInput,
    Mapping,
    Modulated,
    StyleGAN3,
    StyleGAN3R,
    StyleGAN3RConfig,
    StyleGAN3T,
    StyleGAN3TConfig,
    Synthesis,
    fading_blur,
    filters_between,
    placement,
    schedule,
)

PAPER = {"shape": (256, 256, 3), "base": 32768, "max_channels": 512}
TINY = {"shape": (8, 8, 1), "z_dim": 4, "w_dim": 4, "base": 16, "max_channels": 4, "n_layers": 3}
SMALL = {"shape": (32, 32, 3), "z_dim": 16, "w_dim": 16, "base": 512, "max_channels": 16}


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def repeated(*runs: tuple[float, int]) -> list[float]:
    return [value for value, times in runs for _ in range(times)]


def test_layer_table_is_the_papers():
    stages = schedule(StyleGAN3TConfig(**PAPER))
    assert [s.rate for s in stages] == repeated((16, 3), (32, 2), (64, 2), (128, 3), (256, 5))
    assert [s.size for s in stages] == repeated((36, 3), (52, 2), (84, 2), (148, 3), (276, 3), (256, 2))
    half = [6, 5.172, 4, 10.343, 8, 20.686, 16, 41.373, 32, 18.745, 64, 37.49, 29.586, 29.586, 29.586]
    np.testing.assert_allclose([s.half_width for s in stages], half, atol=5e-4)  # as printed
    cutoffs = [2 * 64 ** min(i / 12, 1) for i in range(15)]
    np.testing.assert_allclose([s.cutoff for s in stages], cutoffs, rtol=1e-12)
    expected = [round(min(2**14 / f, 512)) for f in cutoffs[:-1]]
    assert [s.channels for s in stages] == [*expected, 3]
    rotating = [s.channels for s in schedule(StyleGAN3RConfig(**PAPER))]
    assert rotating == [*[round(min(2**15 / f, 1024)) for f in cutoffs[:-1]], 3]


def test_first_up_filter_of_the_paper_stands_in_the_first_layer():
    stages = schedule(StyleGAN3TConfig(**PAPER))
    up, down = filters_between(stages[0], stages[0], rotation=False)
    column = up.rows[0][:, 19] / 2  # what one entry of the canvas of 38 becomes
    half = [0.00079, 0.01002, 0.03895, 0.09241, 0.15653, 0.2013]
    np.testing.assert_allclose(column[column != 0], half + half[::-1], atol=5e-6)
    assert (up.rows.shape, down.rows.shape) == ((1, 82, 38), (1, 36, 82))


def test_radial_filters_stand_where_there_is_room():
    stages = schedule(StyleGAN3RConfig(**PAPER))
    pairs = zip([stages[0], *stages[:-2]], stages[:-1], strict=True)
    terms = [len(filters_between(a, b, rotation=True)[1].rows) for a, b in pairs]
    assert [n > 1 for n in terms] == [True] * 12 + [False] * 2


def test_r_has_as_many_parameters_as_the_reference():
    model = nnx.eval_shape(lambda: StyleGAN3R(StyleGAN3RConfig(), rngs=nnx.Rngs(0)))
    leaves = jax.tree.leaves(nnx.state(model.generator, nnx.Param))
    assert sum(leaf.size for leaf in leaves) == 1_078_026


@pytest.mark.parametrize("demodulate", [True, False])
def test_layer_is_a_convolution_with_weights_of_each_row(demodulate):
    torch = pytest.importorskip("torch")
    layer = Modulated((3, 5, 4), 6, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.arange(4.0)
    layer.square[...] = jnp.asarray(2.5)
    x, w = numbers(2, 7, 7, 5), numbers(2, 6, seed=1)
    s = np.asarray(layer.affine(jnp.asarray(w)))
    rows = []
    for i in range(2):
        kernel = np.asarray(layer.kernel[...]) * s[i][:, None]
        if demodulate:
            kernel = kernel / np.sqrt((kernel**2).sum((0, 1, 2)) + 1e-8)
        else:
            kernel = kernel / np.sqrt(45)
        moved = torch.tensor(x[i : i + 1]).permute(0, 3, 1, 2) / np.sqrt(2.5)
        rows.append(torch.nn.functional.conv2d(moved, torch.tensor(kernel).permute(3, 2, 0, 1).float(), padding=2))
    expected = torch.cat(rows).permute(0, 2, 3, 1).numpy() + np.arange(4.0)
    found = layer(jnp.asarray(x), jnp.asarray(w), demodulate=demodulate, decay=None)
    np.testing.assert_allclose(found, expected, atol=2e-5)  # float32 sums of 45


def test_magnitude_forgets_half_in_its_half_life():
    layer = Modulated((1, 3, 2), 4, rngs=nnx.Rngs(0))
    x, w = numbers(2, 4, 4, 3), jnp.asarray(numbers(2, 4))
    for _ in range(2):  # two batches, each a half of the half-life
        layer(jnp.asarray(x), w, demodulate=True, decay=0.5**0.5)
    np.testing.assert_allclose(layer.square[...], 0.5 + 0.5 * (x.astype(float) ** 2).mean(), rtol=1e-5)


@pytest.fixture(scope="module")
def mapping() -> Mapping:
    return Mapping(StyleGAN3TConfig(**TINY), rngs=nnx.Rngs(0))


def test_mapping_is_two_layers_on_unit_rows(mapping):
    z = numbers(3, 4).astype(float)
    x = z / np.sqrt((z**2).mean(1, keepdims=True) + 1e-8)
    for layer in mapping.layers:
        y = x @ np.asarray(layer.kernel[...], float) * 0.01 / np.sqrt(4)
        x = np.sqrt(2) * np.where(y > 0, y, 0.2 * y)
    np.testing.assert_allclose(mapping.style(jnp.asarray(z, jnp.float32), None), x, atol=1e-5)
    np.testing.assert_allclose(mapping.style(jnp.asarray(7 * z, jnp.float32), None), x, atol=1e-5)


def test_truncation_pulls_to_a_mean_that_follows(mapping):
    before = np.asarray(mapping.mean[...], float)
    w = mapping(jnp.asarray(numbers(3, 4)))
    after = 0.998 * before + 0.002 * np.asarray(w, float).mean(0)
    np.testing.assert_allclose(mapping.mean[...], after, rtol=1e-5)
    np.testing.assert_allclose(mapping.truncate(w, 0.0), np.tile(after, (3, 1)), atol=1e-6)
    np.testing.assert_allclose(mapping.truncate(w, 0.7), after + 0.7 * (np.asarray(w) - after), atol=1e-6)
    # The start is the mean of 1024 styles; that of as many others differs by the noise of both.
    many = np.asarray(mapping.style(jnp.asarray(numbers(1024, 4, seed=5)), None), float)
    assert np.abs(many.mean(0) - before).max() < 5 * many.std(0).max() * np.sqrt(2 / 1024)


def test_input_is_the_waves_at_their_places():
    first = schedule(StyleGAN3TConfig(**PAPER))[0]._replace(channels=6)
    waves = FourierInput(first, 4, rngs=nnx.Rngs(0))
    waves.affine.kernel[...] = jnp.asarray(numbers(4, 4))
    w, user = numbers(2, 4, seed=1), np.asarray(placement((0.1, -0.2), 0.6), float)
    f, phase = np.asarray(waves.frequencies[...], float), np.asarray(waves.phases[...], float)
    place = (np.arange(36) - 17.5) / 16
    expected = []
    for c, s, x, y in np.asarray(waves.affine(jnp.asarray(w)), float):
        length = np.hypot(c, s)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, length]]) / length
        move = np.array([[1, 0, -x / length], [0, 1, -y / length], [0, 0, 1]])
        t = turn @ move @ user
        at = np.stack([*np.meshgrid(place, place), np.ones((36, 36))])
        px, py, _ = np.einsum("ij,jrc->irc", t, at)
        beyond = np.hypot(*(t[:2, :2].T @ f)) - 2
        raw = np.sin(2 * np.pi * (px[..., None] * f[0] + py[..., None] * f[1] + phase)) * np.clip(1 - beyond / 6, 0, 1)
        expected.append(raw @ np.asarray(waves.mix[...], float) / np.sqrt(6))
    found = waves(jnp.asarray(w), jnp.asarray(user, jnp.float32))
    np.testing.assert_allclose(found, np.stack(expected), atol=2e-4)  # float32 angles of up to 20 rad, six waves


def test_frequencies_fill_the_disc_evenly():
    first = schedule(StyleGAN3TConfig(**PAPER))[0]._replace(channels=1000)
    f = np.asarray(FourierInput(first, 1, rngs=nnx.Rngs(0)).frequencies[...])
    radius = np.hypot(*f)
    assert radius.max() <= 2
    shares, _ = np.histogram(radius**2 / 4, bins=10, range=(0, 1))  # uniform in the square of the radius
    assert np.abs(shares / 1000 - 0.1).max() < 4 * np.sqrt(0.09 / 1000)


def test_placement_undoes_rotation_then_shift():
    m = np.asarray(placement((0.25, 0.125), np.pi / 2))
    # The content at (0.25, 0.125) came from the centre, then turned a quarter: (x, y) right and down goes to (y, −x).
    np.testing.assert_allclose(m @ [0.125, -0.25, 1], [0, 0, 1], atol=1e-6)


def test_blur_fades_to_nothing():
    x = jnp.zeros((1, 128, 128, 1)).at[0, 64, 64].set(1)
    blur = jax.jit(lambda x, step: fading_blur(x, step=step, steps=100))
    start = np.asarray(blur(x, jnp.asarray(0)), float)[0, :, :, 0]
    place = np.arange(128) - 64
    assert start.sum() == pytest.approx(1, abs=1e-4)
    assert np.sqrt((start.sum(0) * place**2).sum()) == pytest.approx(10, rel=1e-3)
    half = np.asarray(blur(x, jnp.asarray(50)), float)[0, :, :, 0]
    assert np.sqrt((half.sum(0) * place**2).sum()) == pytest.approx(5, rel=1e-3)
    noise = jnp.asarray(numbers(1, 16, 16, 1))
    np.testing.assert_array_equal(blur(noise, jnp.asarray(100)), noise)


def test_r1_acts_each_sixteenth_step_on_the_sum_of_squares():
    model = StyleGAN3T(StyleGAN3TConfig(**TINY, gamma=3.0, ada_target=None), rngs=nnx.Rngs(0))
    slope = numbers(8, 8, 1)
    rows = jnp.asarray(numbers(2, 8, 8, 1, seed=1))

    def value(step):
        game = model.game(StepContext(jnp.asarray(step), 100, nnx.Rngs(0)))
        return game.penalties[0].at(jnp.asarray(step), lambda x: (x * slope).sum((1, 2, 3)), (rows, rows), nnx.Rngs(0))

    np.testing.assert_allclose(value(32), 16 * 1.5 * (slope**2).sum(), rtol=1e-5)
    np.testing.assert_array_equal(value(33), 0)


def filtered(synthesis: Synthesis, w, transform, decay):
    return synthesis(w, transform, decay=decay)


def unfiltered(synthesis: Synthesis, w, transform, decay):
    """The same layers with the nonlinearity where the pixels are, not between the filters."""
    x, before = synthesis.input(w, transform), synthesis.stages[0]
    for layer, after in zip(list(synthesis.layers)[:-1], synthesis.stages, strict=False):
        x = layer(x, w, demodulate=True, decay=decay)
        up, down = filters_between(before, after, rotation=synthesis.rotation)
        x, before = leaky(resample(resample(x, up), down)), after
    return 0.25 * synthesis.layers[-1](x, w, demodulate=False, decay=decay)


def renderer(model: StyleGAN3, *, n: int, draw):
    """Pictures of n styles, whose magnitudes are those of these very pictures."""
    layout, arrays = flatten(model.generator)
    z = jnp.asarray(numbers(n, model.config.z_dim))

    @jax.jit
    def picture(arrays, by, angle, decay):
        generator = merge(layout, arrays)
        x = draw(generator.synthesis, generator.mapping.style(z, None), placement(by, angle), decay)
        return x, flatten(generator)[1]

    _, arrays = picture(arrays, (0.0, 0.0), 0.0, 0.0)
    return lambda by, angle: picture(arrays, by, angle, 1.0)[0]


def measured(model: StyleGAN3, *, n: int, moves: int, draw=filtered) -> tuple[float, float, float]:
    """EQ-T of whole shifts, EQ-T of others, EQ-R, in dB."""
    render, side = renderer(model, n=n, draw=draw), model.config.shape[0]
    rng = np.random.default_rng(0)
    shifts = rng.uniform(-side / 8, side / 8, (moves, 2))
    angles = rng.uniform(0, 2 * np.pi, moves)
    return (
        translation_equivariance(render, [(float(x), float(y)) for x, y in shifts.round()]),
        translation_equivariance(render, [(float(x), float(y)) for x, y in shifts]),
        rotation_equivariance(render, [float(angle) for angle in angles]),
    )


@pytest.fixture(scope="module")
def small() -> dict[str, tuple[float, float, float]]:
    return {
        "t": measured(StyleGAN3T(StyleGAN3TConfig(**SMALL), rngs=nnx.Rngs(0)), n=2, moves=2),
        "r": measured(StyleGAN3R(StyleGAN3RConfig(**SMALL), rngs=nnx.Rngs(0)), n=2, moves=2),
    }


def test_t_moves_with_its_content(small):
    assert small["t"][0] > 55
    assert small["t"][1] > 50
    assert small["t"][2] < 30


def test_r_turns_with_its_content(small):
    assert small["r"][0] > 65
    assert small["r"][1] > 55
    assert small["r"][2] > 55


@pytest.mark.slow
def test_without_the_filtered_nonlinearity_translation_loses_twenty_decibels(small):
    lost = measured(StyleGAN3R(StyleGAN3RConfig(**SMALL), rngs=nnx.Rngs(0)), n=2, moves=2, draw=unfiltered)
    assert small["r"][0] - lost[0] > 20
    # Turned pictures are held to the frequencies that two squares share, where less of the aliasing lies: 6 dB here.
    assert small["r"][2] - lost[2] > 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "config", "at_least", "turned"),
    [(StyleGAN3T, StyleGAN3TConfig(), (60, 60), (0, 30)), (StyleGAN3R, StyleGAN3RConfig(), (75, 70), (65, 999))],
)
def test_equivariance_at_64_pixels_is_the_papers(model, config, at_least, turned):
    found = measured(model(config, rngs=nnx.Rngs(0)), n=2, moves=2)
    assert found[0] >= at_least[0]
    assert found[1] >= at_least[1]
    assert turned[0] <= found[2] < turned[1]


@pytest.mark.slow
def test_generated_pictures_move_and_truncate():
    model = StyleGAN3R(StyleGAN3RConfig(**TINY), rngs=nnx.Rngs(0))
    z = jnp.asarray(numbers(2, 4))
    mean = np.asarray(model.sample(2, z=z, truncation=0.0))
    np.testing.assert_allclose(mean[0], mean[1], atol=1e-5)
    w = model.generator.mapping.mean[...][None]
    np.testing.assert_allclose(mean[:1], model.generator.synthesis(w), atol=1e-5)


def test_a_class_changes_pictures_and_logits():
    model = StyleGAN3T(StyleGAN3TConfig(**TINY, n_classes=3), rngs=nnx.Rngs(0))
    assert model.conditions == ("y",)
    z = jnp.tile(numbers(1, 4), (3, 1))
    x = np.asarray(model.sample(3, z=z, y=np.arange(3)))
    again = np.asarray(model.sample(3, z=z, y=1))
    np.testing.assert_allclose(again, np.tile(x[1], (3, 1, 1, 1)), atol=1e-6)
    assert np.abs(x[0] - x[2]).max() > 1e-4
    with pytest.raises(ValueError, match=r"StyleGAN3T.generate: expected classes y from 0 to 2, got \[3\]"):
        model.generate(1, y=[3])
    with pytest.raises(ValueError, match="expected a class y, got none"):
        model.generate(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (48, 48, 3)}, r"side is a power of 2 and >= 8, got shape \(48, 48, 3\). The nearest is 64"),
        ({"shape": (64, 32, 3)}, "square pictures"),
        ({"n_layers": 2}, "'n_layers' >= 3"),
        ({"r1_every": 0}, "'r1_every' >= 1"),
        ({"critic_scale": 0}, "'critic_scale' >= 1"),
    ],
)
def test_wrong_configs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(StyleGAN3TConfig(**TINY), **changes)


def test_a_critic_is_as_many_times_as_wide():
    narrow, wide = (StyleGAN3TConfig(**{**TINY, "critic_scale": scale}) for scale in (1, 3))
    a, b = (StyleGAN3T(config, rngs=nnx.Rngs(0)) for config in (narrow, wide))
    shapes = [[array.shape for array in flatten(side)[1].values()] for side in (a.generator, b.generator)]
    assert shapes[0] == shapes[1]
    assert b.discriminator.conv.kernel.shape[-1] == 3 * a.discriminator.conv.kernel.shape[-1]


def test_t_refuses_classes_and_turns():
    model = StyleGAN3T(StyleGAN3TConfig(**TINY), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="expected no condition y"):
        model.generate(1, y=jnp.zeros(1, int))
    with pytest.raises(ValueError, match=r"expected no 'rotate', got 0\.5\. .*use stylegan3_r"):
        model.generate(1, rotate=0.5)
