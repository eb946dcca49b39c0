"""The data sets that core brings, as lazy records."""

from __future__ import annotations

from artifex.core.plugins.records import TargetRecord

_TOYS = {
    "eight_gaussians": "eight Gaussians on a circle; exact density",
    "twenty_five_gaussians": "25 Gaussians on a grid; exact density and entropy",
    "rings": "two noisy circles; exact density",
    "two_moons": "two noisy half circles; exact density",
    "checkerboard": "uniform on eight squares; exact density and entropy",
    "banana": "a bent Gaussian; exact density and entropy",
    "funnel": "Neal's funnel in two dimensions; exact density and entropy",
}

DATASETS = (
    TargetRecord(
        "digits", "artifex.core.data.digits:digits", "8 x 8 handwritten digits of scikit-learn, 1,797 with labels"
    ),
    TargetRecord(
        "mnist", "artifex.core.data.idx:mnist", "28 x 28 handwritten digits, 70,000, from a folder of IDX files"
    ),
    TargetRecord("idx", "artifex.core.data.idx:idx", "grey pictures of an IDX file, with labels from another"),
    TargetRecord("npz", "artifex.core.data.tables:npz", "arrays x and y of an npz file"),
    TargetRecord("csv", "artifex.core.data.tables:csv", "numeric columns of a CSV file, one perhaps the condition"),
    TargetRecord(
        "image_folder", "artifex.core.data.image_folder:image_folder", "pictures below a folder, a class a sub-folder"
    ),
    *(TargetRecord(name, f"artifex.core.data.toys:{name}", summary) for name, summary in _TOYS.items()),
)
