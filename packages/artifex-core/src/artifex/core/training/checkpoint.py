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

import contextlib
import itertools
import json
import logging
import math
import os
import re
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
SEAL, META = "seal.json", "meta.json"
PHI, MIX = np.uint32(0x9E3779B9), (np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35))
BLOCK = 1 << 15  # words that fit a core's cache with their terms


class Restored(NamedTuple):
    """A checkpoint that was read and found sound."""

    step: int
    arrays: dict[str, Array | np.ndarray]  # numpy ones only where jax holds no numbers that wide
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
        found = "; ".join(reasons) or "none at all"
        raise RunError(
            f"Checkpointer.restore: expected a sound checkpoint in {self.directory}, got {found}. "
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

            arrays, meta = ocp.StandardCheckpointHandler(), ocp.JsonCheckpointHandler(filename=META)
            logging.getLogger("absl").addFilter(_is_no_orbax_traceback)
            self._orbax = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler(arrays=arrays, meta=meta))
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
                # Renamed first: a kill in between must not leave half a step under the name of a whole one.
                os.replace(self.directory / str(old), self.directory / f"deleted-{old}")
            self._clear_drafts()

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
        """Delete old steps, and what a save has left that failed or was killed."""
        if is_writer():
            for draft in (*self.directory.glob("*.orbax-checkpoint-tmp*"), *self.directory.glob("deleted-*")):
                shutil.rmtree(draft, ignore_errors=True)

    def _read(self, step: int, like: Like, signature: Mapping[str, Any]) -> Restored:
        """One checkpoint, verified; damage that one process sees is damage for all."""
        folder = self.directory / str(step)
        with _together():
            if is_writer():
                _check_seal(folder)
        with _together():
            content = self._content(step)
        stored = {entry["name"]: entry for entry in content["arrays"]}
        _refuse_others(folder, _differences(stored, like) + _changes(content["meta"], signature))
        with _together():
            arrays = self._arrays(step, list(stored), like)
            for name, array in arrays.items():
                if digest(name, array) != stored[name]["digest"]:
                    raise Damaged(f"expected the numbers of {name} as they were saved, got others")
        return Restored(step, {name: _placed(arrays[name], like[name]) for name in arrays}, content["meta"])

    def _content(self, step: int) -> dict[str, Any]:
        """Names, digests and meta, if their own checksum holds."""
        try:
            sealed = json.loads((self.directory / str(step) / "meta" / META).read_text())
            content, crc = sealed["content"], sealed["crc32"]
        except DAMAGE as error:
            raise Damaged(f"expected metadata that can be read, got {type(error).__name__}") from error
        if _crc(content) != crc:
            raise Damaged("expected metadata as they were saved, got others")
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
            raise Damaged(f"expected arrays that can be read, got {type(error).__name__}") from error
        return {name: found.get(_key(i), empty[name]) for i, name in enumerate(names)}


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """Damage that one process finds is damage for all, so that all take the same step."""
    found: Damaged | None = None
    try:
        yield
    except Damaged as damage:
        found = damage
    if any_process(found is not None):
        raise found or Damaged("another process found damage")


def digest(name: str, array: Any) -> int:
    """The digest of an array under its name (eq. 1); equal on every layout."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        total = int(jax.jit(_device_sum)(array))
    else:
        total = _host_sum(np.asarray(array))
    return (total + zlib.crc32(name.encode())) % 2**32


def _host_sum(array: np.ndarray) -> int:
    """Σ mix(w + φ i), block by block; numbers narrower than a word fill a word each."""
    kinds = {1: np.uint8, 2: np.uint16}
    words = np.ascontiguousarray(array).reshape(-1).view(kinds.get(array.dtype.itemsize, np.uint32))
    total = 0
    for start in range(0, words.size, BLOCK):
        block = words[start : start + BLOCK].astype(np.uint32, copy=False)
        position = np.arange(start, start + block.size).astype(np.uint32)
        total += int(_mixed(block, position).sum(dtype=np.uint64))
    return total % 2**32


def _device_sum(array: Array) -> UInt32[Array, ""]:
    """The same on devices, wherever the parts of the array lie."""
    if jnp.iscomplexobj(array):
        array = jnp.stack([array.real, array.imag], axis=-1)
    if array.dtype == bool:
        array = array.astype(jnp.uint8)
    kinds = {1: jnp.uint8, 2: jnp.uint16}
    words = jax.lax.bitcast_convert_type(array, kinds.get(array.dtype.itemsize, jnp.uint32)).astype(jnp.uint32)
    position = jnp.arange(words.size, dtype=jnp.uint32).reshape(words.shape)
    return jnp.sum(_mixed(words, position), dtype=jnp.uint32)


def _mixed(words: Any, position: Any) -> Any:
    """mix(w + φ i): every step can be undone, so different words give different terms."""
    h = words + PHI * position
    h = (h ^ (h >> np.uint32(16))) * MIX[0]
    h = (h ^ (h >> np.uint32(13))) * MIX[1]
    return h ^ (h >> np.uint32(16))


def _seal(folder: Path) -> None:
    """Write down size and checksum of every file."""
    files = {str(path.relative_to(folder)): _fingerprint(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    draft = folder / f".{SEAL}.draft"
    draft.write_text(json.dumps({"files": files, "crc32": _crc(files)}))
    os.replace(draft, folder / SEAL)


def _check_seal(folder: Path) -> None:
    """Find what changed since the files were sealed; a step that a kill left without a seal has its digests."""
    if not folder.is_dir():
        raise Damaged("expected a folder, got none")
    if not (folder / SEAL).exists():
        return
    try:
        sealed = json.loads((folder / SEAL).read_text())
        files = sealed["files"]
        if _crc(files) != sealed["crc32"]:
            raise Damaged(f"expected {SEAL} as it was written, got another")
        changed = [name for name, fingerprint in files.items() if _fingerprint(folder / name) != fingerprint]
    except DAMAGE as error:
        raise Damaged(f"expected files that can be read, got {type(error).__name__}") from error
    if changed:
        raise Damaged(f"expected {changed[0]} as it was written, got other bytes")


def _fingerprint(path: Path) -> list[int]:
    """Size and crc32 of a file, or nothing where there is none."""
    if not path.is_file():
        return []
    crc, size = 0, 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            crc, size = zlib.crc32(piece, crc), size + len(piece)
    return [size, crc]


def _held(array: Any) -> Any:
    """A copy that no later step overwrites: on the host, or on its devices where other processes hold parts of it."""
    if isinstance(array, jax.Array) and not array.is_fully_addressable:
        return jnp.copy(array)
    return np.array(array)


def _placed(array: Any, like: jax.ShapeDtypeStruct) -> Any:
    """An array that was read, where it belongs."""
    if isinstance(array, jax.Array) or jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        return array  # placed already, or wider than jax holds, whose bits would be lost
    return jax.device_put(array, like.sharding)


def _signature(name: str, array: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "dtype": str(array.dtype), "digest": digest(name, array)}


def _refuse_objects(arrays: Mapping[str, Any]) -> None:
    """Refuse everything but numbers: orbax would pickle objects."""
    for name, array in arrays.items():
        dtype = getattr(array, "dtype", None)
        if dtype is None or not any(jnp.issubdtype(dtype, kind) for kind in (np.number, np.bool_)):
            got = type(array).__name__ if dtype is None else dtype
            raise TypeError(
                f"Checkpointer.save: expected arrays of numbers, got {got} at {name!r}. Store numbers only."
            )


def _plain(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Meta as it comes back from a file: tuples are lists, keys are text."""
    try:
        return json.loads(json.dumps(dict(meta)))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Checkpointer: expected plain JSON values as meta, got: {error}. Convert them first."
        ) from error


def _differences(stored: Mapping[str, Any], like: Like) -> list[str]:
    """What sets the arrays of a checkpoint apart from those of this run, one line each."""
    wrong = [f"{name} is only in the checkpoint" for name in stored if name not in like]
    wrong += [f"{name} is only in the model" for name in like if name not in stored]
    for name in sorted(stored.keys() & like.keys()):
        own, kept = like[name], stored[name]
        if (list(own.shape), str(own.dtype)) != (kept["shape"], kept["dtype"]):
            wrong.append(f"{name} is {kept['dtype']}{kept['shape']} there and {own.dtype}{list(own.shape)} here")
    return wrong


def _changes(stored: Any, wanted: Mapping[str, Any], path: str = "") -> list[str]:
    """Entries of a signature that the checkpoint's meta has otherwise."""
    wrong: list[str] = []
    for key, own in wanted.items():
        kept = stored.get(key) if isinstance(stored, Mapping) else None
        if isinstance(own, Mapping) and isinstance(kept, Mapping):
            wrong += _changes(kept, own, f"{path}{key}.")
        elif own != kept:
            wrong.append(f"{path}{key} is {kept} there and {own} here")
    return wrong


def _refuse_others(folder: Path, wrong: list[str]) -> None:
    if wrong:
        raise ConfigError(
            f"Checkpointer.restore: expected a checkpoint of this architecture in {folder}, got {len(wrong)} "
            f"differences: {'; '.join(wrong[:4])}. Resume with the config that the run was started with."
        )


def _unwritten(directory: Path, error: BaseException) -> RunError:
    code = re.search(r"os_error_code='(\d+)'", str(error))
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = os.strerror(int(code[1])) if code else lines[0][:200]
    return RunError(
        f"Checkpointer.save: expected to write a checkpoint in {directory}, got: {reason}. "
        "Free some space or mend the folder; earlier checkpoints are as they were."
    )


def _is_no_orbax_traceback(record: logging.LogRecord) -> bool:
    """False for tracebacks that orbax prints of errors which come back to the caller anyway."""
    return not (record.exc_info and "orbax" in record.pathname)


def _key(index: int) -> str:
    """The name of a leaf in the file: its number, because a path may hold any character."""
    return f"{index:06d}"


def _crc(content: Any) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
