"""The trainer as people call it: data in any form, stops and resumes, what it refuses."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from artifex.core.config import ModelConfig
from artifex.core.data.source import ArraySource
from artifex.core.data.stream import GrainStream
from artifex.core.errors import ConfigError, RunError
from artifex.core.model import GenerativeModel
from artifex.core.training.config import ObjectiveOptimizer, TrainerConfig
from artifex.core.training.objective import Objective, TrainingSpec, forward_loss
from artifex.core.training.trainer import Trainer

ROWS = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class LineConfig(ModelConfig):
    """Nothing to set."""


class Line(GenerativeModel):
    """x ↦ x W, taught to copy."""

    def __init__(self, config: LineConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.w = nnx.Param(jnp.zeros((3, 3)))

    def __call__(self, x, *, rngs=None):
        return {"y": x @ self.w[...]}

    def loss_fn(self, batch, outputs):
        return {"loss": ((outputs["y"] - batch["x"]) ** 2).sum(-1).mean()}

    def generate(self, n_samples=1, *, rngs=None):
        return jnp.zeros((n_samples, 3))


def build(**settings) -> Trainer:
    options = {name: settings.pop(name) for name in ("run_dir", "callbacks") if name in settings}
    config = TrainerConfig(**{"steps": 11, "batch_size": 8, "log_every": 3, **settings})
    return Trainer(Line(LineConfig(), rngs=nnx.Rngs(0)), config, **options)


def weights(trainer: Trainer) -> np.ndarray:
    return np.asarray(trainer.state.params["w"])


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    trainer = build()
    trainer.fit(ROWS)
    return weights(trainer)


@pytest.mark.parametrize("k", [1, 4, 11, 20])
@pytest.mark.parametrize("streamed", [False, True])
def test_data_in_memory_and_streams_give_equal_parameters_for_every_k(reference, k, streamed):
    trainer = build(steps_per_call=k)
    trainer.fit(GrainStream(ArraySource({"x": ROWS}), 8, 0) if streamed else {"x": ROWS})
    np.testing.assert_array_equal(weights(trainer), reference)


def test_a_fit_in_pieces_is_one_fit(reference):
    trainer = build()
    for steps in (1, 4, 2, 4):
        trainer.fit(ROWS, steps=steps)
    np.testing.assert_array_equal(weights(trainer), reference)


def test_a_stream_resumes_at_its_position(reference, tmp_path):
    first = build(run_dir=tmp_path / "run")
    first.fit(GrainStream(ArraySource({"x": ROWS}), 8, 0), steps=5)
    again = build(run_dir=first.run)
    again.restore()
    again.fit(GrainStream(ArraySource({"x": ROWS}), 8, 0))
    np.testing.assert_array_equal(weights(again), reference)


def test_a_plain_iterator_cannot_be_resumed(tmp_path):
    batches = ({"x": ROWS[:8]} for _ in range(100))
    first = build(run_dir=tmp_path / "run")
    first.fit(batches, steps=5)
    again = build(run_dir=first.run)
    again.restore()
    with pytest.raises(ValueError, match="expected data whose position can be restored, got a plain iterator"):
        again.fit({"x": x} for x in [ROWS[:8]] * 100)


def test_other_data_are_refused_on_resume(tmp_path):
    first = build(run_dir=tmp_path / "run")
    first.fit(ROWS, steps=5)
    again = build(run_dir=first.run)
    again.restore()
    with pytest.raises(ValueError, match="expected the data that the run was started on"):
        again.fit(ROWS + 1)


def test_an_iterator_that_ends_or_changes_shape_is_named():
    with pytest.raises(ValueError, match="got none at step 3"):
        build().fit(iter([{"x": ROWS[:8]}] * 3))
    with pytest.raises(ValueError, match=r"expected batches of 8 rows and of one shape, got .*\(7, 3\)"):
        build().fit(iter([{"x": ROWS[:8]}] * 2 + [{"x": ROWS[:7]}]))


def test_a_source_that_raises_in_the_middle_leaves_the_checkpoints(tmp_path):
    def broken():
        for _ in range(6):
            yield {"x": ROWS[:8]}
        raise OSError("the disk went away")

    trainer = build(run_dir=tmp_path / "run", save_every=2)
    with pytest.raises(OSError, match="the disk went away"):
        trainer.fit(broken())
    again = build(run_dir=trainer.run)
    again.restore()
    assert again.step == 6
    np.testing.assert_array_equal(weights(again), weights(trainer))


def test_empty_data_nan_and_a_batch_too_large_are_named():
    with pytest.raises(ConfigError, match="expected at least one example"):
        build().fit(ROWS[:0])
    with pytest.raises(ConfigError, match="got NaN or infinity in 1 of 50 rows, first in row 4"):
        build().fit(np.where(np.arange(50)[:, None] == 4, np.nan, ROWS))
    with pytest.raises(ConfigError, match="expected at most 7, the number of examples, got 8"):
        build().fit(ROWS[:7])


def test_a_nan_loss_stops_the_run_and_keeps_the_state():
    trainer = build(nonfinite="raise")
    trainer.fit(ROWS, steps=2)
    before = weights(trainer)
    huge = np.full_like(ROWS, 1e30)
    with pytest.raises(RunError, match="expected finite losses and gradients, got NaN or infinity in"):
        trainer.fit(huge, steps=4)
    np.testing.assert_array_equal(weights(trainer), before)


def test_metrics_of_a_run_have_each_step_once(tmp_path):
    first = build(run_dir=tmp_path / "run", save_every=4)
    first.fit(ROWS, steps=6)
    again = build(run_dir=first.run)
    again.restore(4)
    again.fit(ROWS)
    steps = [row["step"] for row in again.run.read_metrics()]
    assert steps == sorted(set(steps))
    assert steps[-1] == 11


def test_the_model_is_whole_after_a_fit_and_copies_are_apart(reference):
    trainer = build(ema_decay=0.9)
    module = trainer._module
    trainer.fit(ROWS)
    np.testing.assert_array_equal(module.w[...], reference)
    copy = trainer.model()
    trainer.fit(ROWS, steps=3)
    np.testing.assert_array_equal(copy.w[...], reference)
    assert np.abs(np.asarray(trainer.model(ema=True).w[...]) - weights(trainer)).max() > 0
    with pytest.raises(ValueError, match="expected a run with averaged parameters, got none"):
        build().model(ema=True)


class Unowned(Line):
    """Has a parameter that its objective does not move."""

    def __init__(self, config: LineConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        self.left = nnx.Param(jnp.ones(2))

    def training_spec(self):
        return TrainingSpec(objectives=(Objective(name="loss", loss=forward_loss, wrt=nnx.PathContains("w")),))


def test_parameters_that_nobody_moves_and_optimizers_that_nobody_has_are_named():
    with pytest.raises(ValueError, match=r"got 1 that are neither: \['left'\]"):
        Trainer(Unowned(LineConfig(), rngs=nnx.Rngs(0)), TrainerConfig(steps=1, batch_size=8))
    with pytest.raises(ValueError, match=r"got one for \['critic'\]"):
        build(optimizers=(ObjectiveOptimizer(objective="critic"),))


class Picky(Line):
    """Takes no negative numbers."""

    def check_examples(self, examples):
        if (examples["x"] < 0).any():
            raise ValueError(
                f"Picky: expected numbers >= 0, got {examples['x'].min():.2f} in {len(examples['x'])} rows."
            )


@pytest.mark.parametrize("data", [ROWS, {"x": ROWS}, ArraySource({"x": ROWS})])
def test_a_model_may_refuse_what_it_sees_of_the_data(data):
    trainer = Trainer(Picky(LineConfig(), rngs=nnx.Rngs(0)), TrainerConfig(steps=1, batch_size=8))
    with pytest.raises(ValueError, match=rf"got {ROWS.min():.2f} in 50 rows"):
        trainer.fit(data)
    trainer.fit(np.abs(ROWS))
    assert trainer.step == 1


class Rows:
    """A callback that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def start(self, step, end):
        self.heard.append((step, end))

    def log(self, row):
        self.heard.append(row["step"])

    def end(self):
        self.heard.append("end")


def test_callbacks_hear_start_rows_and_end():
    rows = Rows()
    build(callbacks=[rows]).fit(ROWS)
    assert rows.heard == [(0, 11), 3, 6, 9, 11, "end"]


def test_devices_must_share_the_batch_equally():
    from artifex.core.mesh import ShardingConfig

    with pytest.raises(ConfigError, match="expected a multiple of grad_accum 1 x 3 devices, got 8"):
        Trainer(
            Line(LineConfig(), rngs=nnx.Rngs(0)),
            TrainerConfig(steps=1, batch_size=8),
            mesh=ShardingConfig(data_parallel_size=3),
        )
    assert jax.device_count() == 8
