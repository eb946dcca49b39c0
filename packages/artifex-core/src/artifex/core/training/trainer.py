"""The trainer: one loop for every family.

It keeps the state as a flat list of arrays, dispatches the compiled step (see `step`), and does between steps what a
run needs: rows of metrics, losses on held-out data, pictures of samples, checkpoints. How a model is
trained is said by its `training_spec`. A run folder makes a run resumable:

    config.yaml   environment.json   metrics.jsonl   checkpoints/   samples/   model/
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from artifex.core.config_text import read_config
from artifex.core.data.source import Source, as_source
from artifex.core.leaves import as_like, as_plain, assign, flatten, merge
from artifex.core.mesh import ShardingConfig
from artifex.core.model import GenerativeModel
from artifex.core.processes import is_writer
from artifex.core.protocols import ChecksData, ChecksExamples
from artifex.core.registry import create_model
from artifex.core.saving import save_model
from artifex.core.training.callbacks import Callback
from artifex.core.training.checkpoint import Checkpointer
from artifex.core.training.config import TrainerConfig
from artifex.core.training.feed import Feed, make_feed
from artifex.core.training.held_out import held_out_losses
from artifex.core.training.journal import Journal
from artifex.core.training.objective import training_spec
from artifex.core.training.optimizers import objective_optimizers
from artifex.core.training.pictures import write_samples
from artifex.core.training.placement import place
from artifex.core.training.program import Outline, Program, Task, compile_steps, outline
from artifex.core.training.run_config import RunConfig, read_run, write_run
from artifex.core.training.run_dir import RunDir
from artifex.core.training.signals import Stop, stop_on_signal
from artifex.core.training.state import TrainState, check_accumulation, initial_state, named, ownership, unnamed
from artifex.core.training.step import Plan
from artifex.core.training.utilisation import peak_flops

CHECKED = 10_000  # examples that a model may look at before training
IN_FLIGHT = 4  # calls under way at most; more would only hold memory
log = logging.getLogger("artifex")


class Trainer:
    """Trains a model.

    During `fit` the model's own arrays are given up; it holds the trained ones when `fit` returns, however it ends.

    Args:
        mesh: a jax mesh or a `ShardingConfig`; one device when None.
        run_dir: a folder that does not exist yet or is empty; nothing is written when None.
        optimizers: optax transformations by objective, instead of those in the config.
    """

    def __init__(
        self,
        model: Any,
        config: TrainerConfig,
        *,
        mesh: Mesh | ShardingConfig | None = None,
        callbacks: Sequence[Callback] = (),
        run_dir: str | Path | RunDir | None = None,
        optimizers: Mapping[str, optax.GradientTransformation] | None = None,
    ) -> None:
        spec = training_spec(model)
        check_accumulation(spec, config.grad_accum)
        owned = ownership(model, spec, average=config.ema_decay is not None)
        made = objective_optimizers(spec, config, optimizers)
        layout, arrays = flatten(model)
        self.plan = Plan(layout, spec, config, owned, made, unroll=False)
        self.config = config
        self.callbacks = tuple(callbacks)
        self.history: list[dict[str, float]] = []
        self.step = 0
        self._module = model
        self._position: Mapping[str, Any] | None = None  # of the data, for the next checkpoint
        self._resume_at: Mapping[str, Any] | None = None  # of the data, from a checkpoint

        def initial(arrays: Mapping[str, jax.Array]) -> TrainState:
            return initial_state(merge(layout, arrays), owned, made)

        self.placement = place(mesh, self.plan, jax.eval_shape(initial, arrays))
        self._leaves, self._treedef = jax.tree.flatten(self.placement.build(initial, arrays))
        self._programs: dict[Any, Any] = {}
        self.run: RunDir | None = None
        self._checkpoints: Checkpointer | None = None
        if run_dir is not None:
            self.attach(_open_run(run_dir, RunConfig(model.config, config)))

    def attach(self, run: RunDir) -> None:
        """Write into this run's folder from now on."""
        self.run = run
        self._checkpoints = Checkpointer(run.checkpoints, keep=self.config.keep)

    @property
    def state(self) -> TrainState:
        """The state as it is; the next `fit` overwrites its arrays, so copy what you keep."""
        return jax.tree.unflatten(self._treedef, self._leaves)

    def model(self, ema: bool = False) -> Any:
        """A copy of the model as it is now.

        Args:
            ema: with the averaged parameters.

        Raises:
            ValueError: there are none.
        """
        if ema and self.config.ema_decay is None:
            raise ValueError("Trainer.model: expected a run with averaged parameters, got none. Set trainer.ema_decay.")
        return merge(self.plan.layout, jax.tree.map(jnp.copy, self._arrays(ema=ema)))

    def fit(self, data: Any, steps: int | None = None, *, held_out: Source | None = None) -> list[dict[str, float]]:
        """Train up to `config.steps`, or for `steps` more; the rows of metrics.

        Args:
            data: a source, an array or a mapping of arrays, or an iterator of batches.
            held_out: what `evaluate_every` looks at.

        Raises:
            RunError: the losses are no longer finite.
            KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint was written first.
        """
        feed = self._feed(data)
        if self._resume_at is not None:
            feed.seek(self._resume_at)
            self._resume_at = None
        end = self.config.steps if steps is None else self.step + steps
        with self._running(end) as stop:
            journal = Journal(self.run, self.callbacks, self.config.nonfinite, self.config.batch_size)
            try:
                self._advance(feed, end, stop, journal, held_out)
                journal.flush()
            finally:
                self.history += journal.rows
            self._finish(feed, stop)
        return self.history

    def check(self, data: Any) -> None:
        """Refuse what cannot be trained on, by tracing one step and running nothing."""
        with self.placement.active():
            self._prepare(self._feed(data), self._seed())

    def lower(self, data: Any) -> Any:
        """The step as jax's `Lowered`, for those who read programs."""
        feed = self._feed(data)
        with self.placement.active():
            seed = self._seed()
            task, about, _ = self._prepare(feed, seed)
            metrics = jax.device_put(about.no_metrics(), self.placement.data)
            program: Any = self._program(task, 1)
            return program.lower(self._leaves, metrics, feed.window(self.step, 1).arrays, seed)

    def describe(self, data: Any) -> dict[str, int | float]:
        """Parameters, bytes of state, and what the compiled step needs, on one device."""
        with self.placement.active():
            compiled = self.lower(data).compile()
        memory = compiled.memory_analysis()
        shard = sum(leaf.addressable_shards[0].data.nbytes for leaf in self._leaves if leaf.is_fully_addressable)
        return {
            "parameters": sum(leaf.size for leaf in self.state.params.values()),
            "state_bytes_per_device": shard,
            "step_flops_per_device": float(compiled.cost_analysis().get("flops", 0.0)),
            "step_temporary_bytes_per_device": memory.temp_size_in_bytes,
            "step_argument_bytes_per_device": memory.argument_size_in_bytes,
        }

    @classmethod
    def resume(
        cls,
        run_dir: str | Path,
        *,
        model: GenerativeModel | None = None,
        mesh: Mesh | ShardingConfig | None = None,
        callbacks: Sequence[Callback] = (),
        optimizers: Mapping[str, optax.GradientTransformation] | None = None,
        or_start: bool = False,
    ) -> Trainer:
        """The trainer of a run, at its newest sound checkpoint.

        Args:
            model: of the run's architecture; built from the run's config when None.
            or_start: begin at step 0 where the run was stopped before its first checkpoint.

        Raises:
            ConfigError: the run's architecture is another.
            RunError: the folder holds no run, or no sound checkpoint.
        """
        run = RunDir.open(run_dir)
        text = read_config(run.config)
        settings = read_run(text.tree, text.positions)
        if model is None:
            model = create_model(settings.model, rngs=nnx.Rngs(settings.trainer.seed))
        mesh = settings.mesh if mesh is None else mesh
        trainer = cls(
            model, settings.trainer, mesh=mesh, callbacks=callbacks, run_dir=run, optimizers=optimizers
        )  # fmt: skip
        if not or_start or trainer.has_checkpoint():
            trainer.restore()
        return trainer

    def has_checkpoint(self) -> bool:
        """Whether the run's folder holds one."""
        return self._checkpoints is not None and bool(self._checkpoints.steps())

    def restore(self, step: int | None = None) -> None:
        """Go to a checkpoint of the run, the newest sound one when `step` is None."""
        if self.run is None or self._checkpoints is None:
            raise ValueError("Trainer.restore: expected a trainer with a run folder, got none. Use Trainer.resume.")
        own = named(self.state)
        shardings = named(self.placement.state) if self.placement.state is not None else dict.fromkeys(own)
        like = {name: _shape(as_plain(leaf), shardings[name]) for name, leaf in own.items()}
        restored = self._checkpoints.restore(like, step=step, signature=self._signature())
        arrays = {name: as_like(restored.arrays[name], leaf) for name, leaf in own.items()}
        self._leaves = jax.tree.leaves(unnamed(arrays, self.state))
        self.step = restored.step
        self._position = self._resume_at = restored.meta["data"]
        assign(self._module, self._arrays())

    def _signature(self) -> dict[str, Any]:
        """What a checkpoint must say about its model to be this run's."""
        return {"model": self._module.config.to_dict()}

    def _arrays(self, *, ema: bool = False) -> dict[str, jax.Array]:
        """The model's arrays by path, whole ones where several processes hold parts."""
        state = self.state
        arrays = {**state.params, **state.variables}
        if ema:
            arrays |= {path: mean.astype(arrays[path].dtype) for path, mean in state.ema.items()}
        return self.placement.whole(arrays)

    @contextlib.contextmanager
    def _running(self, end: int) -> Iterator[Stop]:
        """Everything that is set up around a fit and taken down after it."""
        with contextlib.ExitStack() as stack:
            if self.run is not None:
                stack.enter_context(self.run.lock())
                self.run.truncate_metrics(self.step)  # rows of a future that was given up
            if self._checkpoints is not None:
                stack.callback(self._checkpoints.wait)  # however the fit ends, what was begun is written
            stop = stack.enter_context(stop_on_signal())
            stack.enter_context(self.placement.active())
            stack.callback(lambda: assign(self._module, self._arrays()))
            for callback in self.callbacks:
                callback.start(self.step, end)
                stack.callback(callback.end)
            yield stop

    def _advance(self, feed: Feed, end: int, stop: Stop, journal: Journal, held_out: Source | None) -> None:
        """Steps up to `end`, and what is due between them."""
        if self.step >= end:
            return
        seed = self._seed()
        task, about, most = self._prepare(feed, seed)
        journal.names = about.names
        none = metrics = jax.device_put(about.no_metrics(), self.placement.data)
        window, in_flight = None, collections.deque()
        several = jax.process_count() > 1
        while self.step < end and stop.signal is None:
            k = most if end - self.step >= most else 1
            if window is None or self.step + k > window.until:
                window = feed.window(self.step, k)
            run, due = self._program(task, k), self._next_due(end)
            step, leaves, arrays, until = self.step, self._leaves, window.arrays, min(window.until, end)
            while step < due and step + k <= until and stop.signal is None and not (several and stop.agreed(step)):
                leaves, metrics = run(leaves, metrics, arrays, seed)
                self._leaves = leaves
                step += k
                in_flight.append(metrics)
                if len(in_flight) > IN_FLIGHT:
                    in_flight.popleft().block_until_ready()
            before, self.step = self.step, step
            if journal.clock is None:
                if peak_flops(jax.devices()[0].device_kind) is not None:
                    lowered = cast(Any, self._program(task, 1)).lower(leaves, metrics, arrays, seed)
                    journal.flops = lowered.compile().cost_analysis().get("flops")
                journal.tick(step)
            if self._passed(self.config.log_every, before) or step >= end:
                journal.push(step, metrics)
                metrics = none
            self._between(feed, before, journal, held_out)

    def _feed(self, data: Any) -> Feed:
        """The feed of some data, which the model may refuse."""
        check_data(self._module, data)
        return make_feed(data, self.config.batch_size, self.config.seed, self.placement.places())

    def _seed(self) -> jax.Array:
        """The words of the run's key, where every device finds them."""
        return jax.device_put(jax.random.key_data(jax.random.key(self.config.seed)), self.placement.data)

    def _prepare(self, feed: Feed, seed: jax.Array) -> tuple[Task, Outline, int]:
        """The task of a feed, its outline, and how many steps a call may take."""
        key = ("outline", feed.reader)
        if key not in self._programs:
            shapes = jax.eval_shape(lambda: self.state)
            about = outline(Task(self.plan, feed.reader), shapes, feed.outline(), seed)
            slow = about.convolves and jax.default_backend() == "cpu"
            plan = dataclasses.replace(self.plan, unroll=slow)
            most = 1 if slow else self.config.steps_per_call
            if most != self.config.steps_per_call:
                log.warning(
                    "artifex: steps_per_call is 1 for this model: XLA runs convolutions slowly in loops on CPU."
                )
            self._programs[key] = (Task(plan, feed.reader), about, most)
        return self._programs[key]

    def _program(self, task: Task, k: int) -> Program:
        if (task, k) not in self._programs:
            self._programs[task, k] = compile_steps(task, self._treedef, k, self.placement.program())
        return self._programs[task, k]

    def _next_due(self, end: int) -> int:
        """The step at which something is due next."""
        config = self.config
        periods = (config.log_every, config.save_every, config.sample_every, config.evaluate_every)
        return min([end, *((self.step // every + 1) * every for every in periods if every is not None)])

    def _passed(self, every: int | None, before: int) -> bool:
        """Whether a multiple of `every` lies after `before`, up to now."""
        return every is not None and self.step // every > before // every

    def _between(self, feed: Feed, before: int, journal: Journal, held_out: Source | None) -> None:
        """Held-out losses, pictures and checkpoints that are due."""
        ema = self.config.ema_decay is not None
        if held_out is not None and self._passed(self.config.evaluate_every, before):
            journal.flush()
            arrays = self._arrays(ema=ema)
            journal.write({"step": self.step, **held_out_losses(self.plan, arrays, held_out, self.step)})
        if self.run is not None and self._passed(self.config.sample_every, before):
            model = self.model(ema)
            if is_writer():
                write_samples(model, self.run.samples, self.step, self.config.seed)
        if self._passed(self.config.save_every, before):
            journal.flush()
            self.save(feed.position())

    def save(self, position: Mapping[str, Any] | None = None) -> None:
        """Begin to write a checkpoint of this step; it is written while training goes on."""
        if self._checkpoints is None:
            return
        self._position = position if position is not None else self._position
        arrays = {name: as_plain(leaf) for name, leaf in named(self.state).items()}
        self._checkpoints.save(self.step, arrays, {"data": self._position, **self._signature()})

    def _finish(self, feed: Feed, stop: Stop) -> None:
        """The last checkpoint and the model; after a signal, only the checkpoint, and then the interrupt."""
        if self._checkpoints is not None and self.run is not None:
            if self._checkpoints.newest != self.step:
                self.save(feed.position())
            self._checkpoints.wait()
            if stop.signal is None and self.step >= self.config.steps:
                model = self.model(self.config.ema_decay is not None)
                if is_writer():
                    save_model(model, self.run.model)
        self._position = feed.position()
        if stop.signal is not None:
            saved = "" if self.run is None else f" A checkpoint was written; go on with: artifex resume {self.run.path}"
            raise KeyboardInterrupt(f"{stop.signal.name} at step {self.step}.{saved}")


def _shape(leaf: jax.Array, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def check_data(model: GenerativeModel, data: Any) -> None:
    """Let the model look at what the data are, where they say so, and at the first of them."""
    if isinstance(data, Source) and isinstance(model, ChecksData):
        model.check_data(data.spec)
    if not isinstance(data, Iterator) and isinstance(model, ChecksExamples):
        source = as_source(data)
        model.check_examples(source.take(np.arange(min(len(source), CHECKED))))


def _open_run(run_dir: str | Path | RunDir, run: RunConfig) -> RunDir:
    """The run folder, made anew unless it is one already."""
    return run_dir if isinstance(run_dir, RunDir) else RunDir.create(run_dir, write_run(run))
