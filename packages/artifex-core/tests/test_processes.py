"""Joining processes: by arguments, by hand-set variables, and by what clusters set."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from artifex.core.errors import ConfigError
from artifex.core.processes import ProcessInfo, any_process, bootstrap, cluster, is_writer

SLURM_STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}
OPEN_MPI_RANK = {
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
}

JOIN = """
import json, sys
import jax
from artifex.core.errors import ConfigError
from artifex.core.mesh import create_mesh
from artifex.core.processes import any_process, bootstrap, is_writer
first = bootstrap(sys.argv[1], 2, int(sys.argv[2])) if len(sys.argv) > 1 else bootstrap()
again = bootstrap()
alone = [any_process(first.index == i) for i in (0, 1, 2)]
shared = jax.make_array_from_process_local_data(
    jax.sharding.NamedSharding(jax.make_mesh((4,), ("data",)), jax.sharding.PartitionSpec("data")),
    jax.numpy.arange(2.0) + 2 * first.index,
)
total = float(jax.jit(jax.numpy.sum)(shared))
try:
    create_mesh(data=2)
except ConfigError as error:
    print(error)  # two of four devices would leave a process without any
print(json.dumps([first.index, first.count, first == again, is_writer(), alone, total]))
"""


def environment(**changes: str) -> dict[str, str]:
    """This process's variables for a child with two devices, which checks no annotations."""
    return {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", **changes}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def two(commands: list[list[str]], variables: list[dict[str, str]]) -> list[list[object]]:
    """What two processes printed."""
    children = [
        subprocess.Popen(command, env=environment(**extra), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command, extra in zip(commands, variables, strict=True)
    ]
    outputs = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert ["got 4 of them in 2 processes" in out for out, _ in outputs] == [True, True]
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


@pytest.mark.parametrize("by_hand", [False, True])
def test_two_processes_join_once_and_add_up(by_hand: bool) -> None:
    address = f"127.0.0.1:{free_port()}"
    script = [sys.executable, "-c", JOIN]
    if by_hand:
        commands = [script, script]
        variables = [
            {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(i)} for i in (0, 1)
        ]
    else:
        commands, variables = [[*script, address, str(i)] for i in (0, 1)], [{}, {}]
    assert two(commands, variables) == [
        [0, 2, True, True, [True, True, False], 6.0],
        [1, 2, True, False, [True, True, False], 6.0],
    ]


def test_alone_there_is_one_process_and_no_backend_is_started() -> None:
    code = "import jax; from artifex.core.processes import bootstrap; p = bootstrap(); "
    code += "jax.config.update('jax_num_cpu_devices', 3); print(p.index, p.count, jax.device_count())"
    out = subprocess.check_output([sys.executable, "-c", code], env=environment(), text=True, timeout=60)
    assert out.split() == ["0", "1", "3"]


def test_alone_this_process_writes_and_speaks_for_all() -> None:
    assert bootstrap() == ProcessInfo(0, 1)
    assert (is_writer(), any_process(False), any_process(True)) == (True, False, True)


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        (SLURM_STEP, "slurm"),
        (SLURM_STEP | {"SLURM_NTASKS": "1"}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, None),  # a shell inside an allocation, not a step
        (OPEN_MPI_RANK, "ompi"),
        (OPEN_MPI_RANK | {"OMPI_COMM_WORLD_SIZE": "1"}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}, "k8s"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),  # any pod, a notebook say
    ],
)
def test_cluster_is_known_by_its_variables(variables: dict[str, str], found: str | None) -> None:
    assert cluster(variables) == found


def test_half_an_address_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"bootstrap: expected a coordinator .* got \('127.0.0.1:1', None, None\)"):
        bootstrap("127.0.0.1:1")


def test_a_word_for_a_number_of_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(ConfigError, match=r"whole numbers .* got \['two', None\]"):
        bootstrap()


def test_joining_after_jax_started_is_refused() -> None:
    is_writer()  # starts the backend
    with pytest.raises(ConfigError, match="expected to join process 0 of 1"):
        bootstrap(f"127.0.0.1:{free_port()}", 1, 0)
