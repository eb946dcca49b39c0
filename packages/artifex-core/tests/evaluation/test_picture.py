import io

import numpy as np
from PIL import Image

from artifex.core.evaluation.picture import PAPER, grid, grid_png, picture_of, scatter


def opened(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_each_image_lies_in_its_cell_and_paper_between():
    images = np.stack([np.full((32, 32, 1), v) for v in (0.0, 0.5, 1.0)])
    page = grid(images, 2)
    assert page.shape == (70, 70, 3)
    assert (page[2:34, 2:34] == 0).all()
    assert (page[2:34, 36:68] == 128).all()
    assert (page[36:68, 2:34] == 255).all()
    assert (page[:2] == PAPER).all()
    assert (page[36:68, 36:68] == PAPER).all()


def test_small_images_are_enlarged_pixel_by_pixel():
    image = np.arange(64.0).reshape(1, 8, 8, 1) / 63
    page = grid(image, 1)[2:-2, 2:-2, 0]
    assert page.shape == (32, 32)
    assert np.array_equal(page[::4, ::4], np.rint(image[0, :, :, 0] * 255))
    assert np.array_equal(page[3::4, 3::4], page[::4, ::4])


def test_the_span_of_the_data_becomes_black_to_white():
    images = np.stack([np.full((32, 32, 1), v) for v in (-1.0, 0.0, 1.0, 5.0)])
    page = opened(grid_png(images, columns=4, span=(-1.0, 1.0)))
    assert [page[5, 5 + 34 * i, 0] for i in range(4)] == [0, 128, 255, 255]


def test_colours_stay_where_they_are():
    image = np.zeros((1, 32, 32, 3))
    image[..., 1] = 1
    assert opened(grid_png(image))[10, 10].tolist() == [0, 255, 0]


def test_points_are_drawn_where_they_lie():
    page = scatter(np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    dark = page[..., 0] < PAPER
    assert dark.sum() == 5
    assert dark[127:129, 127:129].sum() == 1  # the centre
    assert dark[:, 200:].sum() == dark[:, :56].sum() == dark[:56].sum() == dark[200:].sum() == 1


def test_points_that_are_not_finite_are_left_out():
    points = np.random.default_rng(0).normal(size=(50, 2))
    broken = np.concatenate([points, [[np.nan, 0.0], [np.inf, 1.0]]])
    assert np.array_equal(scatter(broken), scatter(points))
    assert (scatter(np.full((3, 2), np.nan)) == PAPER).all()


def test_the_kind_of_data_chooses_the_picture():
    assert opened(picture_of(np.zeros((4, 16, 16, 1)))).shape == (70, 70, 3)
    assert opened(picture_of(np.zeros((9, 2)))).shape == (256, 256, 3)
    assert [picture_of(x) for x in (np.zeros((4, 3)), np.zeros((2, 8, 8, 5)), np.zeros((0, 8, 8, 1)))] == [None] * 3
