"""Checkpoints: arrays by name, written in the background, verified leaf by leaf when they are read.

    digest(a) = Σ_i bits_i · odd(i)  mod 2³²,    odd(i) = 2 mix(i) + 1                                          (1)
over the 32-bit words of an array, i the word's position. A changed word changes its term, because an odd factor can be
inverted modulo 2³², so a flipped bit is always found; the sum is the same on every layout. Names, shapes, dtypes and
digests lie beside the arrays under a checksum of their own.

Damage falls back to the newest step that is sound. Arrays of another architecture never do: they are an error.
"""

from __future__ import annotations

import json
import logging
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

from artifex.core.errors import ConfigError, RunError

log = logging.getLogger("artifex")
Like = Mapping[str, jax.ShapeDtypeStruct]
# What reading damaged files raises, in orbax, tensorstore, jax and json.
DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, IndexError, EOFError, AssertionError)


class Restored(NamedTuple):
    """A checkpoint that was read and found sound."""

    step: int
    arrays: dict[str, Array]
    meta: dict[str, Any]


class Damaged(Exception):
    """A checkpoint that cannot be trusted."""


class Checkpointer:
    """The checkpoints of one folder.

    Args:
        keep: the newest ones that stay.
    """

    def __init__(self, directory: str | Path, *, keep: int = 3) -> None:
        self.directory, self.keep = Path(directory).absolute(), keep
        self.opened: Any = None
        self.newest: int | None = None  # the step that was saved or restored last

    @property
    def manager(self) -> Any:
        """The orbax manager, made when it is first needed."""
        if self.opened is None:
            import orbax.checkpoint as ocp

            single = jax.process_count() == 1
            options = ocp.CheckpointManagerOptions(
                max_to_keep=self.keep, create=True, cleanup_tmp_directories=single, enable_async_checkpointing=True
            )
            self.directory.mkdir(parents=True, exist_ok=True)
            self.opened = ocp.CheckpointManager(self.directory, options=options)
        return self.opened

    def steps(self) -> tuple[int, ...]:
        """Steps that were written whole, the newest last."""
        if not self.directory.is_dir():
            return ()
        return tuple(sorted(int(entry.name) for entry in self.directory.iterdir() if entry.name.isdigit()))

    def save(self, step: int, arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Begin to write a checkpoint; the arrays may be given up as soon as this returns.

        Raises:
            TypeError: an array holds objects; nothing is written.
            RunError: the checkpoint before this one could not be written.
        """
        import orbax.checkpoint as ocp

        _refuse_objects(arrays)
        names = sorted(arrays)
        kept = {name: _held(arrays[name]) for name in names}
        leaves = {_key(i): kept[name] for i, name in enumerate(names) if kept[name].size}  # orbax refuses empty ones
        content = {"arrays": [_signature(name, kept[name]) for name in names], "meta": dict(meta)}
        sealed = {"content": content, "crc32": _crc(content)}
        self._set_aside(step)
        try:
            args = ocp.args.Composite(arrays=ocp.args.StandardSave(leaves), meta=ocp.args.JsonSave(sealed))
            self.manager.save(step, args=args, force=True)
            self.newest = step
        except DAMAGE as error:
            raise _unwritten(self.directory, error) from error

    def wait(self) -> None:
        """Return when everything is written.

        Raises:
            RunError: something could not be.
        """
        try:
            self.manager.wait_until_finished()
        except DAMAGE as error:
            raise _unwritten(self.directory, error) from error

    def restore(self, like: Like, *, step: int | None = None) -> Restored:
        """The checkpoint of a step, or the newest sound one.

        Args:
            like: shape, dtype and perhaps sharding of each array.

        Raises:
            ConfigError: the arrays of the checkpoint are others.
            RunError: no checkpoint is sound.
        """
        steps = self.steps() if step is None else (step,)
        reasons: list[str] = []
        for candidate in reversed(steps):
            try:
                restored = self._read(candidate, like)
                self.newest = candidate
                return restored
            except Damaged as damage:
                reasons.append(f"step {candidate}: {damage}")
                log.warning("artifex: checkpoint %d in %s is damaged (%s).", candidate, self.directory, damage)
        raise RunError(
            f"{self.directory}: expected a sound checkpoint, got {'; '.join(reasons) or 'none at all'}. "
            "Start the run again from its config.yaml."
        )

    def close(self) -> None:
        """Write what is under way and let go."""
        if self.opened is not None:
            self.wait()
            self.opened.close()
            self.opened = None

    def _read(self, step: int, like: Like) -> Restored:
        """One checkpoint, verified."""
        content = self._content(step)
        stored = {entry["name"]: entry for entry in content["arrays"]}
        _refuse_others(stored, like, self.directory / str(step))
        arrays = self._arrays(step, list(stored), like)
        for name, array in arrays.items():
            if digest(name, array) != stored[name]["digest"]:
                raise Damaged(f"the bytes of {name} changed")
        placed = {name: jax.device_put(arrays[name], like[name].sharding) for name in arrays}
        return Restored(step, placed, content["meta"])

    def _content(self, step: int) -> dict[str, Any]:
        """Names and digests, if their own checksum holds."""
        import orbax.checkpoint as ocp

        try:
            sealed = self.manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]
            content, crc = sealed["content"], sealed["crc32"]
        except DAMAGE as error:
            raise Damaged(f"its metadata cannot be read, {type(error).__name__}") from error
        if _crc(content) != crc:
            raise Damaged("its metadata changed")
        return content

    def _arrays(self, step: int, names: list[str], like: Like) -> dict[str, Any]:
        import orbax.checkpoint as ocp

        spread = jax.process_count() > 1
        wanted = {
            _key(i): like[name] if spread else np.empty(like[name].shape, like[name].dtype)
            for i, name in enumerate(names)
            if math.prod(like[name].shape)
        }
        try:
            found = self.manager.restore(step, args=ocp.args.Composite(arrays=ocp.args.StandardRestore(wanted)))["arrays"]
        except DAMAGE as error:
            raise Damaged(f"its arrays cannot be read, {type(error).__name__}") from error
        empty = {name: np.empty(like[name].shape, like[name].dtype) for name in names}
        return {name: found.get(_key(i), empty[name]) for i, name in enumerate(names)}

    def _set_aside(self, step: int) -> None:
        """Steps from `step` on are of a future that a restore gave up: out of the way, but not deleted."""
        later = [old for old in self.steps() if old >= step]
        for old in later:
            target = self.directory / f"set-aside-{old}-{os.getpid()}"
            os.replace(self.directory / str(old), target)
            log.warning("artifex: checkpoint %d was given up and is now %s.", old, target)
        if later and self.opened is not None:
            self.opened.reload()


def digest(name: str, array: Any) -> int:
    """The digest of an array under its name (eq. 1); equal on every layout."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        total = int(jax.jit(_word_sum)(array))
    else:
        total = int(_word_sum(np.asarray(array)))
    return (total + zlib.crc32(name.encode())) % 2**32


def _word_sum(array: Any) -> UInt32[Array, ""]:
    """Σ bits · odd(position), on the host or on devices alike."""
    np_like: Any = np if isinstance(array, np.ndarray) else jnp
    words = _words(array)
    position = np_like.arange(words.size, dtype=np.uint32).reshape(words.shape)
    mixed = (position ^ (position >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    odd = (mixed << np.uint32(1)) | np.uint32(1)
    return np_like.sum(words * odd, dtype=np.uint32)


def _words(array: Any) -> Any:
    """The bits of an array as unsigned 32-bit words; narrower numbers fill a word each."""
    size = array.dtype.itemsize
    if isinstance(array, np.ndarray):
        flat = np.ascontiguousarray(array).reshape(-1)
        return flat.view({1: np.uint8, 2: np.uint16}.get(size, np.uint32)).astype(np.uint32)
    if array.dtype == bool:
        return array.astype(jnp.uint32)
    kind = {1: jnp.uint8, 2: jnp.uint16}.get(size, jnp.uint32)
    return jax.lax.bitcast_convert_type(array, kind).astype(jnp.uint32)


def _held(array: Any) -> Any:
    """A copy that no later step overwrites: on the host, or on its devices where other processes hold parts of it."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return jnp.copy(array)
    return np.array(array)


def _signature(name: str, array: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "dtype": str(array.dtype), "digest": digest(name, array)}


def _refuse_objects(arrays: Mapping[str, Any]) -> None:
    bad = [name for name, array in arrays.items() if np.dtype(getattr(array, "dtype", object)) == object]
    if bad:
        raise TypeError(f"Checkpointer.save: expected arrays of numbers, got objects at {bad[:3]}. Store numbers only.")


def _refuse_others(stored: Mapping[str, Any], like: Like, where: Path) -> None:
    """Refuse a checkpoint whose arrays are not those of this run."""
    wrong = [f"{name} is only in the checkpoint" for name in stored if name not in like]
    wrong += [f"{name} is only in the model" for name in like if name not in stored]
    for name in sorted(stored.keys() & like.keys()):
        own, kept = like[name], stored[name]
        if (list(own.shape), str(own.dtype)) != (kept["shape"], kept["dtype"]):
            wrong.append(f"{name} is {kept['dtype']}{kept['shape']} there and {own.dtype}{list(own.shape)} here")
    if wrong:
        raise ConfigError(
            f"{where}: expected a checkpoint of this architecture, got {len(wrong)} differences: {'; '.join(wrong[:4])}. "
            "Resume with the config that the run was started with."
        )


def _unwritten(directory: Path, error: BaseException) -> RunError:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return RunError(
        f"{directory}: expected to write a checkpoint, got {reason}. Free some space or mend the folder; "
        "earlier checkpoints are as they were."
    )


def _key(index: int) -> str:
    """The name of a leaf in the file: its number, because a path may hold any character."""
    return f"{index:06d}"


def _crc(content: Any) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
