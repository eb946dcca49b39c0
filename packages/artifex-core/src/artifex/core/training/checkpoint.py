"""Checkpoints: arrays by name, written in the background, verified when they are read.

    digest(a) = crc32(name) + Σᵢ mix(wᵢ + φ i)  mod 2³²                                                        (1)
over the 32-bit words w of an array, i the word's position, φ an odd constant and mix a bijection of 32-bit words [1]. A
changed word changes its term, so a flipped bit is always found, and any other damage but for one case in 2³². The
order of the sum does not matter: it is the same on every layout. The name keeps leaves from trading places.

    checkpoints/
      20/             arrays/ and meta/, written by orbax: the arrays, and their names, shapes, dtypes and digests
        seal.json     size and crc32 of every file, for damage in what orbax does not read or does not look at
      set-aside-20-0/ a step that a restore passed over and that the run then wrote again

Damage falls back to the newest step that is sound. Arrays of another architecture never do: they are an error.

References:
    [1] Appleby, MurmurHash3, 2011: the 32-bit finaliser.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

from artifex.core.errors import ConfigError, RunError
from artifex.core.processes import any_process, is_writer

log = logging.getLogger("artifex")
Like = Mapping[str, jax.ShapeDtypeStruct]
# What reading damaged files raises, in orbax, tensorstore, jax and json.
DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, IndexError, EOFError, AssertionError)
SEAL = "seal.json"
PHI, MIX = np.uint32(0x9E3779B9), (np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35))
BLOCK = 1 << 15  # words that fit a core's cache with their terms


class Restored(NamedTuple):
    """A checkpoint that was read and found sound."""

    step: int
    arrays: dict[str, Any]  # jax arrays; numpy ones where jax holds no numbers that wide
    meta: dict[str, Any]


class Damaged(Exception):
    """A checkpoint that cannot be trusted."""


class Checkpointer:
    """The checkpoints of one folder.

    Args:
        keep: how many of the newest stay.
        keep_best: how many of those with the lowest `meta[best_by]` stay beside them.
    """

    def __init__(self, directory: str | Path, *, keep: int = 3, keep_best: int = 0, best_by: str = "loss") -> None:
        if keep < 1 or keep_best < 0:
            raise ValueError(f"Checkpointer: expected keep >= 1 and keep_best >= 0, got {keep} and {keep_best}.")
        self.directory, self.keep, self.keep_best, self.best_by = Path(directory).absolute(), keep, keep_best, best_by
        self.newest: int | None = None  # the step that was saved or restored last
        self._orbax: Any = None
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def steps(self) -> tuple[int, ...]:
        """Steps that were written whole, the newest last."""
        if not self.directory.is_dir():
            return ()
        return tuple(sorted(int(entry.name) for entry in self.directory.iterdir() if entry.name.isdigit()))

    def latest(self) -> int | None:
        """The newest step that was written whole, sound or not."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """The step with the lowest `meta[best_by]`."""
        return min(self.steps(), key=self._score, default=None)

    def save(self, step: int, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Begin to write a checkpoint; the arrays may be given up as soon as this returns.

        Raises:
            TypeError: an array holds something else than numbers, or `meta` is no JSON; nothing is written.
            RunError: this checkpoint, or the one before it, could not be written.
        """
        _refuse_objects(arrays)
        plain = _plain(meta)
        self.wait()
        held = {name: _held(arrays[name]) for name in sorted(arrays)}
        content = {"arrays": [_signature(name, array) for name, array in held.items()], "meta": plain}
        leaves = {_key(i): array for i, array in enumerate(held.values()) if array.size}  # orbax refuses empty ones
        try:
            self._make_room(step)
            self._begin(step, leaves, {"content": content, "crc32": _crc(content)})
        except DAMAGE as error:
            self._clear_drafts()
            raise _unwritten(self.directory, error) from error
        self._pending = self._thread.submit(self._finish, step)
        self.newest = step

    def wait(self) -> None:
        """Return when everything is written.

        Raises:
            RunError: something could not be.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except DAMAGE as error:
            self.newest = None
            raise _unwritten(self.directory, error) from error

    def restore(self, like: Like, *, step: int | None = None, signature: Mapping[str, Any] | None = None) -> Restored:
        """The checkpoint of a step, or the newest sound one.

        Args:
            like: shape, dtype and perhaps sharding of each array.
            signature: entries that the checkpoint's `meta` must hold, such as the model's config.

        Raises:
            ConfigError: the arrays of the checkpoint, or its signature, are others.
            RunError: no checkpoint is sound.
        """
        if self._pending is not None:
            wait_for([self._pending])
        steps = self.steps() if step is None else (step,)
        reasons: list[str] = []
        for candidate in reversed(steps):
            try:
                restored = self._read(candidate, like, _plain(signature or {}))
            except Damaged as damage:
                reasons.append(f"step {candidate}: {damage}")
                log.warning("artifex: checkpoint %d in %s is damaged: %s.", candidate, self.directory, damage)
            else:
                self.newest = candidate
                return restored
        raise RunError(
            f"{self.directory}: expected a sound checkpoint, got {'; '.join(reasons) or 'none at all'}. "
            "Start the run again from its config.yaml."
        )

    def close(self) -> None:
        """Write what is under way and let go."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            if self._orbax is not None:
                self._orbax.close()
                self._orbax = None

    def _writer(self) -> Any:
        """Orbax's part, made when it is first needed."""
        if self._orbax is None:
            import orbax.checkpoint as ocp

            self._orbax = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        return self._orbax

    def _begin(self, step: int, leaves: Mapping[str, Any], sealed: Mapping[str, Any]) -> None:
        import orbax.checkpoint as ocp

        args = ocp.args.Composite(arrays=ocp.args.StandardSave(leaves), meta=ocp.args.JsonSave(sealed))
        self._writer().save(self.directory / str(step), args=args)

    def _finish(self, step: int) -> None:
        """In the background: wait for the files, seal them, and only then delete what is no longer kept."""
        try:
            self._writer().wait_until_finished()
            if is_writer():
                _seal(self.directory / str(step))
        except DAMAGE:
            self._clear_drafts()
            raise
        if is_writer():
            for old in set(self.steps()) - self._kept():
                shutil.rmtree(self.directory / str(old))

    def _kept(self) -> set[int]:
        """The newest steps, and the best ones."""
        newest = self.steps()[-self.keep :]
        return {*newest, *(sorted(self.steps(), key=self._score)[: self.keep_best] if self.keep_best else ())}

    def _score(self, step: int) -> float:
        try:
            return float(self._content(step)["meta"].get(self.best_by, math.inf))
        except Damaged:
            return math.inf

    def _make_room(self, step: int) -> None:
        """Move away steps from `step` on: they are of a future that a restore gave up."""
        if not is_writer():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        self._clear_drafts()
        for old in (old for old in self.steps() if old >= step):
            free = (self.directory / f"set-aside-{old}-{n}" for n in itertools.count())
            target = next(path for path in free if not path.exists())
            os.replace(self.directory / str(old), target)
            log.warning("artifex: checkpoint %d was given up and is now %s.", old, target)

    def _clear_drafts(self) -> None:
        """Delete what a save that failed or was killed has left. Only a writer calls this: it holds the run's lock."""
        if is_writer():
            for draft in self.directory.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(draft, ignore_errors=True)

    def _read(self, step: int, like: Like, signature: Mapping[str, Any]) -> Restored:
        """One checkpoint, verified; damage that one process sees is damage for all."""
        folder = self.directory / str(step)
        with _together():
            _check_seal(folder)
            content = self._content(step)
        stored = {entry["name"]: entry for entry in content["arrays"]}
        _refuse_others(folder, _differences(stored, like) + _changes(content["meta"], signature))
        with _together():
            arrays = self._arrays(step, list(stored), like)
            for name, array in arrays.items():
                if digest(name, array) != stored[name]["digest"]:
                    raise Damaged(f"the numbers of {name} changed")
        return Restored(step, {name: _placed(arrays[name], like[name]) for name in arrays}, content["meta"])

    def _content(self, step: int) -> dict[str, Any]:
        """Names, digests and meta, if their own checksum holds."""
        import orbax.checkpoint as ocp

        try:
            args = ocp.args.Composite(meta=ocp.args.JsonRestore())
            sealed = self._writer().restore(self.directory / str(step), args=args).meta
            content, crc = sealed["content"], sealed["crc32"]
        except DAMAGE as error:
            raise Damaged(f"its metadata cannot be read, {_reason(error)}") from error
        if _crc(content) != crc:
            raise Damaged("its metadata changed")
        return content

    def _arrays(self, step: int, names: list[str], like: Like) -> dict[str, Any]:
        import orbax.checkpoint as ocp

        spread = jax.process_count() > 1
        empty = {name: np.empty(like[name].shape, like[name].dtype) for name in names}
        wanted = {_key(i): like[name] if spread else empty[name] for i, name in enumerate(names) if empty[name].size}
        try:
            args = ocp.args.Composite(arrays=ocp.args.StandardRestore(wanted))
            found = self._writer().restore(self.directory / str(step), args=args).arrays
        except DAMAGE as error:
            raise Damaged(f"its arrays cannot be read, {_reason(error)}") from error
        return {name: found.get(_key(i), empty[name]) for i, name in enumerate(names)}
