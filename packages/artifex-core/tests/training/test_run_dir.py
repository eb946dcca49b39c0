"""A run's folder: made once, locked while written, whole after any crash."""

from __future__ import annotations

import json
import math
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from artifex.core.errors import ConfigError, RunError
from artifex.core.training.run_dir import RunDir, environment

TREE = {"model": {"type": "vae", "latent_dim": 2}, "trainer": {"steps": 3}}

HOLD = """
import sys
from artifex.core.training.run_dir import RunDir
with RunDir.open(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path / "runs" / "a", TREE)


def holder(run: RunDir) -> subprocess.Popen[str]:
    """A process that holds the run's lock."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], text=True, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_new_run_holds_its_config_and_what_it_runs_on(run: RunDir) -> None:
    import yaml

    assert yaml.safe_load(run.config.read_text()) == TREE
    assert json.loads((run.path / "environment.json").read_text())["versions"]["jax"] == jax.__version__
    assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "environment.json"]
    parts = [run.metrics, run.checkpoints, run.samples, run.model]
    assert [part.name for part in parts] == ["metrics.jsonl", "checkpoints", "samples", "model"]


def test_an_empty_folder_may_become_a_run(tmp_path: Path) -> None:
    assert RunDir.create(tmp_path, TREE).config.is_file()


def test_a_folder_in_use_is_refused_with_the_command_that_goes_on(run: RunDir, tmp_path: Path) -> None:
    before = run.config.read_bytes()
    with pytest.raises(ConfigError, match=f"expected a new or empty folder, got .*artifex resume {run.path}"):
        RunDir.create(run.path, {"model": {}})
    assert run.config.read_bytes() == before
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="expected a new or empty folder"):
        RunDir.create(tmp_path / "file", TREE)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file/run: expected to write the run's files, got: Not a directory"):
        RunDir.create(tmp_path / "file" / "run", TREE)


def test_a_run_is_opened_where_there_is_one(run: RunDir, tmp_path: Path) -> None:
    assert RunDir.open(run.path) == run
    with pytest.raises(RunError, match="none: expected a run's folder, got nothing"):
        RunDir.open(tmp_path / "none")
    with pytest.raises(RunError, match=r"config.yaml: expected a run's folder, got a file"):
        RunDir.open(run.config)
    run.config.unlink()
    with pytest.raises(RunError, match=r"expected a run's folder, got a folder without config\.yaml"):
        RunDir.open(run.path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_part_that_may_not_be_read_is_named(run: RunDir) -> None:
    run.metrics.touch()
    run.metrics.chmod(stat.S_IWUSR)
    with pytest.raises(RunError, match=r"metrics\.jsonl: expected a run that can be read, got no permission"):
        RunDir.open(run.path)


def test_a_second_process_is_refused_and_told_who_holds_the_run(run: RunDir) -> None:
    process = holder(run)
    with pytest.raises(RunError, match=f"got one held by process {process.pid} on {socket.gethostname()}"), run.lock():
        pass
    process.communicate("")
    with run.lock():
        assert f"process {os.getpid()} on" in (run.path / ".lock").read_text()


def test_a_killed_process_leaves_no_lock(run: RunDir) -> None:
    process = holder(run)
    process.kill()
    process.communicate()
    with run.lock(), pytest.raises(RunError, match=f"held by process {os.getpid()}"), run.lock():
        pass


def test_an_error_inside_the_lock_stays_what_it_was(run: RunDir) -> None:
    with pytest.raises(FileNotFoundError, match="mine"), run.lock():
        raise FileNotFoundError("mine")
    with run.lock():
        assert (run.path / ".lock").read_text().count("\n") == 1


def test_rows_come_back_in_order(run: RunDir) -> None:
    assert run.read_metrics() == []
    rows = [{"step": step, "loss": 1 / step} for step in (1, 2, 3)]
    for row in rows:
        run.append_metrics(row)
    assert run.read_metrics() == rows
    assert run.metrics.read_text().splitlines()[1] == '{"step": 2, "loss": 0.5}'


def test_what_is_not_finite_is_null_in_the_file_and_nan_when_read(run: RunDir) -> None:
    run.append_metrics({"step": 1, "loss": math.nan, "kl": math.inf})
    assert run.metrics.read_text() == '{"step": 1, "loss": null, "kl": null}\n'
    row = run.read_metrics()[0]
    assert [row["step"], math.isnan(row["loss"]), math.isnan(row["kl"])] == [1, True, True]


def test_resuming_drops_later_rows_and_what_a_crash_cut_short(run: RunDir) -> None:
    for step in (5, 10, 15, 20):
        run.append_metrics({"step": step, "loss": math.nan if step == 5 else 0.0})
    with run.metrics.open("ab") as file:
        file.write(b'{"step": 25, "lo')
    run.truncate_metrics(10)
    assert run.metrics.read_text().splitlines() == ['{"step": 5, "loss": null}', '{"step": 10, "loss": 0.0}']
    run.append_metrics({"step": 15, "loss": 1.0})
    assert [row["step"] for row in run.read_metrics()] == [5, 10, 15]


def test_lines_that_are_no_rows_are_left_out(run: RunDir) -> None:
    run.metrics.write_bytes(b'7\n{"loss": 1}\n\xff\n\n{"step": 3}\n{"step": 4')
    assert run.read_metrics() == [{"step": 3}]


def test_a_row_that_cannot_be_written_is_named(run: RunDir) -> None:
    run.metrics.mkdir()
    with pytest.raises(RunError, match=r"metrics\.jsonl: expected to write the run's files, got: Is a directory"):
        run.append_metrics({"step": 1})


def test_environment_names_versions_devices_and_command() -> None:
    found = environment()
    assert found["command"] == sys.argv
    assert found["python"].split(".") == [str(part) for part in sys.version_info[:3]]
    assert (len(found["devices"]), found["processes"]) == (jax.device_count(), 1)
    assert {"jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "artifex-core"} <= found["versions"].keys()
    assert found == json.loads(json.dumps(found))


def test_the_commit_is_that_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment()["commit"] is None
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert environment()["commit"] == head
