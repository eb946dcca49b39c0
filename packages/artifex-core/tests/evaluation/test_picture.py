"""Pictures show the numbers that they are made of."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from artifex.core.evaluation.picture import grid, grid_png, picture_of, scatter


def test_a_grid_holds_each_image_at_its_place():
    images = np.stack([np.full((2, 2, 1), v) for v in (0.0, 0.5, 1.0)])
    page = grid(images, columns=2)
    assert page.shape == (2 * 34 + 2, 2 * 34 + 2, 3)
    assert (page[2:34, 2:34] == 0).all()
    assert (page[2:34, 36:68] == 128).all()
    assert (page[36:68, 2:34] == 255).all()


def test_a_png_reads_as_the_page():
    images = np.random.default_rng(0).random((4, 3, 3, 3))
    read = np.asarray(Image.open(io.BytesIO(grid_png(images))))
    np.testing.assert_array_equal(read, grid(images, 2))


def test_points_are_darker_where_they_are_dense():
    points = np.concatenate([np.zeros((200, 2)), np.random.default_rng(0).uniform(-1, 1, (200, 2))])
    page = scatter(points)
    assert page[127:129, 127:129].min() < 100
    assert page.mean() > 200


def test_other_data_have_no_picture():
    assert picture_of(np.zeros((3, 7))) is None
    assert picture_of(np.zeros((3, 4, 4, 1)))[:4] == b"\x89PNG"
