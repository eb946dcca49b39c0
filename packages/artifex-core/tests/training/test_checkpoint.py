"""Checkpoints: what goes in comes out, and what was damaged is found."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from artifex.core.errors import ConfigError, RunError
from artifex.core.mesh import create_mesh
from artifex.core.training.checkpoint import SEAL, Checkpointer, _device_sum, _host_sum, digest

# Orbax leaves threads behind when it stumbles over damage that no seal told us of.
UNSEALED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
META = {"data": {"epoch": 1, "index": 5}, "loss": 0.5}


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """A small state with every kind of leaf."""
    rng = np.random.default_rng(seed)
    return {
        "params/encoder/layers/0/kernel": rng.normal(size=(6, 4)).astype(np.float32),
        "params/encoder/layers/1/kernel": rng.normal(size=(6, 4)).astype(np.float32),
        "params/scale": rng.normal(size=(5,)).astype(ml_dtypes.bfloat16),
        "variables/seen": np.array([True, False]),
        "variables/none": np.zeros((0, 3), np.float32),
        "step": np.array(7, np.int32),
    }


def like(state: dict[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    return {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in state.items()}


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Bit for bit, name by name."""
    return found.keys() == expected.keys() and all(
        np.asarray(found[n]).tobytes() == np.asarray(expected[n]).tobytes() for n in expected
    )


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def saved(tmp_path: Path) -> Checkpointer:
    """Steps 10 and 20, whole and sealed."""
    checkpoints = Checkpointer(tmp_path / "checkpoints")
    for step in (10, 20):
        checkpoints.save(step, arrays(step), META)
    checkpoints.wait()
    return checkpoints


def test_everything_comes_back_bit_for_bit(saved: Checkpointer) -> None:
    restored = saved.restore(like(arrays()))
    assert (restored.step, restored.meta, saved.steps(), saved.latest()) == (20, META, (10, 20), 20)
    assert same(restored.arrays, arrays(20))
    assert same(saved.restore(like(arrays()), step=10).arrays, arrays(10))


def test_another_process_reads_the_same(saved: Checkpointer) -> None:
    assert same(Checkpointer(saved.directory).restore(like(arrays())).arrays, arrays(20))


def test_meta_comes_back_as_plain_json(tmp_path: Path) -> None:
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, arrays(), {"shape": (2, 3), 10: "ten", 9: "nine"})
    checkpoints.wait()
    assert checkpoints.restore(like(arrays())).meta == {"shape": [2, 3], "10": "ten", "9": "nine"}
    with pytest.raises(TypeError, match="expected plain JSON values as meta, got: Object of type set"):
        checkpoints.save(2, arrays(), {"names": {"a"}})


def test_numbers_wider_than_jax_holds_keep_their_bits(tmp_path: Path) -> None:
    wide = {"position": np.array([2**53 + 1, -1], np.int64), "mean": np.array([1 / 3])}
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, wide, {})
    checkpoints.wait()
    assert same(checkpoints.restore(like(wide)).arrays, wide)


def test_arrays_may_be_donated_as_soon_as_save_returns(tmp_path: Path) -> None:
    overwrite = jax.jit(lambda a: a * 0 - 1, donate_argnums=0)
    state = {f"params/{i}": jnp.full((256, 256), float(i)) for i in range(8)}
    expected = {name: np.array(array) for name, array in state.items()}
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, state, {})
    state = {name: overwrite(array).block_until_ready() for name, array in state.items()}
    checkpoints.wait()
    assert same(checkpoints.restore(like(expected)).arrays, expected)
    assert float(sum(array.sum() for array in state.values())) == -8 * 256 * 256


def test_host_arrays_may_be_overwritten_as_soon_as_save_returns(tmp_path: Path) -> None:
    state = arrays()
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, state, {})
    for array in state.values():
        array[...] = 0
    checkpoints.wait()
    assert same(checkpoints.restore(like(state)).arrays, arrays())


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpointer(tmp_path, keep=2, keep_best=1)
    for step, loss in ((1, 3.0), (2, 0.1), (3, 2.0), (4, 1.0), (5, 1.5)):
        checkpoints.save(step, arrays(step), {"loss": loss})
    checkpoints.wait()
    assert (checkpoints.steps(), checkpoints.best()) == ((2, 4, 5), 2)
    assert same(checkpoints.restore(like(arrays()), step=2).arrays, arrays(2))


class Bomb:
    """Says so when somebody pickles it."""

    def __reduce__(self) -> Any:
        raise AssertionError("pickled")


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (np.array([Bomb()], object), "object"),
        (np.array(["text"]), "<U4"),
        (np.array(["2020-01-01"], "datetime64[D]"), r"datetime64\[D\]"),
        (jax.random.key(0), r"key<fry>"),
        (Bomb(), "Bomb"),
    ],
)
def test_anything_but_numbers_is_refused_before_anything_is_written(tmp_path: Path, bad: Any, what: str) -> None:
    checkpoints = Checkpointer(tmp_path / "checkpoints")
    with pytest.raises(TypeError, match=f"Checkpointer.save: expected arrays of numbers, got {what} at 'params/b'"):
        checkpoints.save(1, {"params/a": np.ones(3), "params/b": bad}, {})
    assert not checkpoints.directory.exists()


def test_100_random_flips_in_every_kind_of_file_are_all_found(saved: Checkpointer) -> None:
    rng = random.Random(0)
    found = 0
    for n in range(100):
        victim = files(saved.directory / "20")[n % len(files(saved.directory / "20"))]
        whole = victim.read_bytes()
        at = rng.randrange(len(whole))
        victim.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
        restored = saved.restore(like(arrays()))
        found += restored.step == 10 and same(restored.arrays, arrays(10))
        victim.write_bytes(whole)
    assert found == 100
    assert saved.restore(like(arrays())).step == 20


@UNSEALED
def test_without_a_seal_no_flip_changes_what_comes_back(saved: Checkpointer) -> None:
    """A kill between the last file and the seal leaves the digests; flips that they miss are in bytes nobody reads."""
    (saved.directory / "20" / SEAL).unlink()
    rng = random.Random(1)
    for victim in files(saved.directory / "20"):
        whole = victim.read_bytes()
        for _ in range(4):
            at = rng.randrange(len(whole))
            victim.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
            restored = saved.restore(like(arrays()))
            assert same(restored.arrays, arrays(restored.step))
        victim.write_bytes(whole)


def rewritten(saved: Checkpointer, step: int, change: dict[str, str]) -> None:
    """Write the arrays of a step again, with some under another's name, as a sound file of orbax."""
    import orbax.checkpoint as ocp

    folder = saved.directory / str(step)
    (folder / SEAL).unlink(missing_ok=True)
    shutil.rmtree(folder / "arrays")
    names = sorted(arrays())
    leaves = {f"{i:06d}": arrays(step)[change.get(n, n)] for i, n in enumerate(names) if arrays()[n].size}
    with ocp.StandardCheckpointer() as writer:
        writer.save(folder / "arrays", leaves)


def test_leaves_that_traded_places_are_found(saved: Checkpointer, caplog: pytest.LogCaptureFixture) -> None:
    first, second = "params/encoder/layers/0/kernel", "params/encoder/layers/1/kernel"
    rewritten(saved, 20, {})
    assert saved.restore(like(arrays())).step == 20
    rewritten(saved, 20, {first: second, second: first})
    assert saved.restore(like(arrays())).step == 10
    assert f"expected the numbers of {first} as they were saved, got others" in caplog.text


@UNSEALED
@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("damage", ["cut", "emptied", "removed"])
def test_truncated_and_missing_files_fall_back_with_a_warning(
    saved: Checkpointer, caplog: pytest.LogCaptureFixture, damage: str, sealed: bool
) -> None:
    folder = saved.directory / "20"
    if not sealed:
        (folder / SEAL).unlink()
    for victim in (folder / "meta" / "meta.json", folder / "arrays" / "manifest.ocdbt"):
        whole = victim.read_bytes()
        if damage == "removed":
            victim.unlink()
        else:
            victim.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
        caplog.clear()
        with caplog.at_level(logging.WARNING, "artifex"):
            assert saved.restore(like(arrays())).step == 10
        warned = [record.getMessage() for record in caplog.records if record.name == "artifex"]
        assert len(warned) == 1
        assert warned[0].startswith(f"artifex: checkpoint 20 in {saved.directory} is damaged: ")
        victim.write_bytes(whole)


def test_when_nothing_is_sound_every_reason_is_named(saved: Checkpointer) -> None:
    for step in (10, 20):
        (saved.directory / str(step) / "meta" / "meta.json").write_text("{")
    first, second = "step 20: expected meta/meta.json as it was written, got other bytes", "step 10: expected meta"
    with pytest.raises(RunError, match=f"{first}; {second}"):
        saved.restore(like(arrays()))
    with pytest.raises(RunError, match="step 30: expected a folder, got none"):
        saved.restore(like(arrays()), step=30)


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpointer(tmp_path / "none")
    assert (checkpoints.steps(), checkpoints.latest(), checkpoints.best()) == ((), None, None)
    with pytest.raises(RunError, match=r"expected a sound checkpoint .* got none at all"):
        checkpoints.restore(like(arrays()))


def test_a_damaged_step_is_set_aside_when_the_run_comes_to_it_again(saved: Checkpointer) -> None:
    (saved.directory / "20" / "meta" / "meta.json").unlink()
    for attempt in range(2):
        assert saved.restore(like(arrays()), step=10).step == 10
        saved.save(20, arrays(99 + attempt), META)
        saved.wait()
        assert same(saved.restore(like(arrays())).arrays, arrays(99 + attempt))
    assert sorted(path.name for path in saved.directory.iterdir()) == ["10", "20", "set-aside-20-0", "set-aside-20-1"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"step": np.zeros((2,), np.int32)}, r"step is int32\[\] there and int32\[2\] here"),
        ({"step": np.array(7.0, np.float32)}, r"step is int32\[\] there and float32\[\] here"),
        ({"params/new": np.zeros(3)}, "params/new is only in the model"),
    ],
)
def test_another_architecture_is_an_error_and_never_a_fallback(
    saved: Checkpointer, change: dict[str, np.ndarray], line: str
) -> None:
    with pytest.raises(ConfigError, match=f"Checkpointer.restore: expected a checkpoint of this architecture.*{line}"):
        saved.restore(like(arrays() | change))
    fewer = {name: array for name, array in arrays().items() if name != "step"}
    with pytest.raises(ConfigError, match="got 1 differences: step is only in the checkpoint"):
        saved.restore(like(fewer))


def test_damage_is_not_taken_for_another_architecture(saved: Checkpointer) -> None:
    meta = saved.directory / "20" / "meta" / "meta.json"
    (saved.directory / "20" / SEAL).unlink()
    meta.write_text(meta.read_text().replace("[6, 4]", "[4, 6]"))  # well formed, but not what was written
    assert saved.restore(like(arrays())).step == 10


def test_another_signature_is_an_error_that_names_the_entry(tmp_path: Path) -> None:
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, arrays(), {"model": {"type": "vae", "act": "relu"}})
    checkpoints.wait()
    own = {"model": {"type": "vae", "act": "relu"}}
    assert checkpoints.restore(like(arrays()), signature=own).step == 1
    with pytest.raises(ConfigError, match=r"model\.act is relu there and gelu here"):
        checkpoints.restore(like(arrays()), signature={"model": {"type": "vae", "act": "gelu"}})


def test_saved_on_four_devices_restored_on_two_and_on_eight(tmp_path: Path) -> None:
    state = {"kernel": jnp.arange(64.0 * 16).reshape(64, 16), "step": jnp.array(3)}
    on_four = NamedSharding(create_mesh(fsdp=4), PartitionSpec("fsdp"))
    checkpoints = Checkpointer(tmp_path)
    checkpoints.save(1, state | {"kernel": jax.device_put(state["kernel"], on_four)}, {})
    checkpoints.wait()
    for n in (2, 8):
        sharding = NamedSharding(create_mesh(fsdp=n), PartitionSpec(None, "fsdp"))
        wanted = like(state) | {"kernel": jax.ShapeDtypeStruct((64, 16), np.float32, sharding=sharding)}
        restored = checkpoints.restore(wanted).arrays
        assert restored["kernel"].sharding.is_equivalent_to(sharding, 2)
        assert restored["kernel"].addressable_shards[0].data.shape == (64, 16 // n)
        assert same(restored, state)


@pytest.mark.parametrize(
    "dtype", [np.float32, np.int32, np.uint8, np.bool_, np.float16, ml_dtypes.bfloat16, np.complex64]
)
def test_digest_is_the_same_on_the_host_and_on_every_layout(dtype: Any) -> None:
    array = np.random.default_rng(0).integers(0, 255, (16, 24)).astype(dtype)
    expected = _host_sum(array)
    spread = jax.device_put(array, NamedSharding(create_mesh(fsdp=8), PartitionSpec(None, "fsdp")))
    assert int(jax.jit(_device_sum)(jnp.asarray(array))) == expected
    assert int(jax.jit(_device_sum)(spread)) == expected


def test_digest_finds_every_flip_every_swap_and_negation() -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(70_000,)).astype(np.float32)  # more than one block
    own = digest("a", array)
    assert digest("b", array) != own
    assert digest("a", -array) != own
    found = 0
    for _ in range(200):
        word, bit, other = int(rng.integers(array.size)), int(rng.integers(32)), int(rng.integers(array.size))
        flipped = array.copy()
        flipped.view(np.uint32)[word] ^= np.uint32(1 << bit)
        swapped = array.copy()
        swapped[[word, other]] = swapped[[other, word]]
        found += (digest("a", flipped) != own) + (word == other or digest("a", swapped) != own)
    assert found == 400


def test_digest_of_two_words_is_the_formula() -> None:
    def mix(h: int) -> int:
        h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
        h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
        return h ^ h >> 16

    assert _host_sum(np.array([5, 2**32 - 1], np.uint32)) == (mix(5) + mix((2**32 - 1 + 0x9E3779B9) % 2**32)) % 2**32


CHILD = """
import os, resource, signal, sys
import numpy as np
from artifex.core.errors import RunError
from artifex.core.training.checkpoint import Checkpointer
state = {"w": np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)}
checkpoints = Checkpointer(sys.argv[1], keep=int(sys.argv[2]))
"""

FULL = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
checkpoints.save(1, state, {})
checkpoints.wait()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
for step in (2, 3):
    checkpoints.save(step, state, {})
    try:
        checkpoints.wait() if step == 3 else checkpoints.save(3, state, {})
    except RunError as error:
        print(error, checkpoints.newest, sorted(os.listdir(sys.argv[1])))
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
checkpoints.save(4, state, {})
checkpoints.close()
"""

SAVING = """
for step in range(1, 10_000):
    checkpoints.save(step, {"w": state["w"] + np.float32(step)}, {"step": step})
    print(step, flush=True)
"""


def child(code: str, *args: str, **kwargs: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CHILD + code, *args], text=True, **kwargs)


def test_a_full_disk_is_named_in_one_sentence_and_old_steps_stay(tmp_path: Path) -> None:
    process = child(FULL, str(tmp_path), "1", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    sentence = f"Checkpointer.save: expected to write a checkpoint in {tmp_path}, got: File too large. Free some space"
    assert [line.startswith(sentence) and line.endswith("None ['1']") for line in out.splitlines()] == [True, True]
    assert "Traceback" not in err
    wanted = {"w": jax.ShapeDtypeStruct((200, 200), np.float32)}
    assert (Checkpointer(tmp_path).steps(), Checkpointer(tmp_path).restore(wanted).step) == ((4,), 4)


def kill_while_saving(folder: Path, delay: float) -> int:
    """The newest step after a process that does nothing but save was killed; it and all older ones are sound."""
    process = child(SAVING, str(folder), "3", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    begun = [int(process.stdout.readline()) for _ in range(4)]
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    checkpoints = Checkpointer(folder)
    base = np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    for step in checkpoints.steps():
        restored = checkpoints.restore({"w": jax.ShapeDtypeStruct((200, 200), np.float32)}, step=step)
        assert restored.meta == {"step": step}
        assert np.array_equal(restored.arrays["w"], base + np.float32(step))
    assert checkpoints.steps()[-1] >= begun[-1] - 1  # the step before the one under way was whole
    checkpoints.save(10_000, {"w": base}, {})
    checkpoints.close()
    assert not list(folder.glob("*tmp*"))
    return checkpoints.steps()[-1]


def test_kill_9_while_saving_leaves_sound_steps(tmp_path: Path) -> None:
    assert [kill_while_saving(tmp_path / str(i), delay) for i, delay in enumerate((0.0, 0.03))] == [10_000, 10_000]


@pytest.mark.slow
@pytest.mark.faults
def test_20_kills_at_random_moments_leave_sound_steps(tmp_path: Path) -> None:
    rng = random.Random(0)
    assert [kill_while_saving(tmp_path / str(i), rng.uniform(0, 0.2)) for i in range(20)] == [10_000] * 20


PAIR = """
import sys
import jax, numpy as np
from artifex.core.processes import bootstrap
from artifex.core.mesh import create_mesh
from artifex.core.training.checkpoint import Checkpointer
me = bootstrap(sys.argv[2], 2, int(sys.argv[3]))
rows = jax.sharding.NamedSharding(create_mesh(data=2, fsdp=2), jax.sharding.PartitionSpec(("data", "fsdp")))
whole = np.arange(32.0, dtype=np.float32).reshape(8, 4)
spread = jax.make_array_from_process_local_data(rows, whole[4 * me.index : 4 * me.index + 4])
checkpoints = Checkpointer(sys.argv[1], keep=2)
for step in (1, 2):
    checkpoints.save(step, {"w": spread * step}, {"step": step})
checkpoints.wait()
if me.index == 0:
    (checkpoints.directory / "2" / "meta" / "meta.json").write_text("{")
jax.experimental.multihost_utils.sync_global_devices("damaged")
restored = checkpoints.restore({"w": jax.ShapeDtypeStruct((8, 4), np.float32, sharding=rows)})
mine = np.concatenate([shard.data for shard in restored.arrays["w"].addressable_shards])
print(restored.step, np.array_equal(mine, whole[4 * me.index : 4 * me.index + 4]))
"""


def test_two_processes_save_what_one_reads_and_fall_back_together(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    environ = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", PAIR.replace("import jax,", "import jax, jax.experimental.multihost_utils,")]
    pair = [subprocess.Popen([*command, str(tmp_path), address, str(i)], env=environ, **pipes) for i in (0, 1)]
    outputs = [process.communicate(timeout=120) for process in pair]
    assert [out.split()[-2:] for out, _ in outputs] == [["1", "True"]] * 2, outputs
    restored = Checkpointer(tmp_path).restore({"w": jax.ShapeDtypeStruct((8, 4), np.float32)}, step=1)
    assert np.array_equal(restored.arrays["w"], np.arange(32.0).reshape(8, 4))
    assert json.loads((tmp_path / "1" / SEAL).read_text())["files"]["meta/meta.json"][0] > 0
