"""Data that a density cannot describe are refused, and named."""

from __future__ import annotations

import numpy as np
import pytest
from flax import nnx

from artifex.core import Trainer, TrainerConfig, create_model
from artifex.core.data.source import ArraySource
from artifex.flow.support import check_bounds, check_distinct

CONFIG = TrainerConfig(steps=1, batch_size=8)


def rows(n: int = 1000) -> np.ndarray:
    return np.random.default_rng(0).uniform(-3, 3, (n, 2)).astype(np.float32)


def test_a_column_of_few_values_is_named():
    x = rows()
    check_distinct("MAF", x)
    x[:, 1] = np.round(x[:, 1])
    with pytest.raises(ValueError, match=r"MAF: expected .* columns, got 7 distinct values in 1000 rows of column 1"):
        check_distinct("MAF", x)


def test_numbers_outside_the_support_are_named_with_their_share():
    x = rows()
    x[:5, 0] = 7
    with pytest.raises(ValueError, match=r"in \[-3.142, 3.142\], got 0.25% of them outside, from -\S+ to 7"):
        check_bounds("CircularNSF", x, (-np.pi, np.pi))
    check_bounds("CircularNSF", np.array([[np.float32(np.pi)]]), (-np.pi, np.pi))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"x": x}, lambda x: ArraySource({"x": x})])
def test_the_trainer_refuses_angles_that_are_none(wrap):
    fields = {"n_layers": 1, "net": {"type": "mlp", "hidden_dims": (4,)}}
    trainer = Trainer(create_model("circular_nsf", rngs=nnx.Rngs(0), **fields), CONFIG)
    with pytest.raises(ValueError, match="CircularNSF: expected numbers in"):
        trainer.fit(wrap(2 * rows()))


def test_the_trainer_refuses_a_column_of_few_values():
    trainer = Trainer(create_model("maf", rngs=nnx.Rngs(0), n_layers=1, hidden_dims=(4,)), CONFIG)
    with pytest.raises(ValueError, match="MAF: expected continuous columns, got 7 distinct values"):
        trainer.fit(np.round(rows()))


def test_rows_that_are_not_finite_are_refused():
    x = rows()
    x[3, 0] = np.nan
    trainer = Trainer(create_model("maf", rngs=nnx.Rngs(0), n_layers=1, hidden_dims=(4,)), CONFIG)
    with pytest.raises(ValueError, match="got NaN or infinity in 1 of 1000 rows, first in row 3"):
        trainer.fit(x)
