"""Pictures of samples: a grid of images, points in the plane."""

from __future__ import annotations

import io
import math

import numpy as np
from jaxtyping import Float, UInt8

PAPER = 255
INK = (31, 84, 158)
UNIT = (0.0, 1.0)


def picture_of(samples: np.ndarray, columns: int | None = None, *, span: tuple[float, float] = UNIT) -> bytes | None:
    """A PNG of images with values in `span`, or of points in the plane; None for other data, and for none at all."""
    samples = np.asarray(samples)
    if not len(samples):
        return None
    if samples.ndim == 4 and samples.shape[-1] in (1, 3):
        return grid_png(samples, columns=columns, span=span)
    if samples.ndim == 2 and samples.shape[1] == 2:
        return png(scatter(samples))
    return None


def grid_png(
    images: Float[np.ndarray, "n height width channel"],
    *,
    columns: int | None = None,
    span: tuple[float, float] = UNIT,
) -> bytes:
    """Images with values in `span` side by side, enlarged to at least 32 pixels, as PNG."""
    low, high = span
    return png(grid((images - low) / (high - low), columns or math.ceil(math.sqrt(len(images)))))


def grid(images: Float[np.ndarray, "n height width channel"], columns: int) -> UInt8[np.ndarray, "rows cols 3"]:
    """Images in [0, 1] side by side with a line of paper between them."""
    n, height, width, channels = images.shape
    scale = max(1, math.ceil(32 / max(height, width)))
    shown = np.clip(np.nan_to_num(images) * 255 + 0.5, 0, 255).astype(np.uint8)
    shown = np.broadcast_to(shown, (n, height, width, 3)) if channels == 1 else shown
    shown = shown.repeat(scale, 1).repeat(scale, 2)
    tall, wide, gap = height * scale, width * scale, 2
    rows = math.ceil(n / columns)
    page = np.full((rows * (tall + gap) + gap, columns * (wide + gap) + gap, 3), PAPER, np.uint8)
    for i, image in enumerate(shown):
        top, left = gap + i // columns * (tall + gap), gap + i % columns * (wide + gap)
        page[top : top + tall, left : left + wide] = image
    return page


def scatter(points: Float[np.ndarray, "n 2"], size: int = 256) -> UInt8[np.ndarray, "size size 3"]:
    """Points in the plane; the more of them in a pixel, the darker it is. Points that are not finite are left out."""
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return np.full((size, size, 3), PAPER, np.uint8)
    centre = np.median(points, 0)
    reach = max(float(np.quantile(np.abs(points - centre), 0.99)) * 1.2, 1e-6)
    pixels = ((points - centre) / reach * 0.5 + 0.5) * size
    inside = ((pixels >= 0) & (pixels < size)).all(1)
    column, row = pixels[inside].astype(int).T
    counts = np.zeros((size, size))
    np.add.at(counts, (size - 1 - row, column), 1)
    shade = (1 - np.exp(-counts))[..., None]
    return (PAPER * (1 - shade) + np.array(INK) * shade).astype(np.uint8)


def png(page: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """An RGB page as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(page).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
