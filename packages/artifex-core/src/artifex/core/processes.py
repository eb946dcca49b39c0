"""Several processes as one: `jax.distributed`, started once, from arguments or from the cluster's own variables."""

from __future__ import annotations

import os
from typing import NamedTuple

import jax

# What SLURM, Open MPI and Kubernetes set for a job of several processes; jax reads the rest itself.
CLUSTERS = ("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "KUBERNETES_SERVICE_HOST")


class Process(NamedTuple):
    """Which process this is."""

    index: int
    count: int


def bootstrap(coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None) -> Process:
    """Join the other processes, if there are any; a second call changes nothing.

    Args:
        coordinator: `host:port` of process 0; without it, the cluster's variables are asked, and one process is enough.

    Raises:
        ValueError: a coordinator without the number and index of processes.
    """
    if jax.distributed.is_initialized():
        return Process(jax.process_index(), jax.process_count())
    if coordinator is not None and (num_processes is None or process_id is None):
        raise ValueError(
            f"bootstrap: expected num_processes and process_id beside the coordinator {coordinator}, got "
            f"{num_processes} and {process_id}. Give all three."
        )
    if coordinator is not None:
        _gloo()
        jax.distributed.initialize(coordinator, num_processes, process_id)
    elif _in_job():
        _gloo()
        jax.distributed.initialize()
    return Process(jax.process_index(), jax.process_count())


def _gloo() -> None:
    """Let CPU processes talk; other backends bring their own way."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")


def _in_job() -> bool:
    """Whether a cluster started this process as one of several."""
    sizes = [os.environ.get(name, "1") for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "JAX_NUM_PROCESSES")]
    return any(name in os.environ for name in CLUSTERS) and any(size.isdigit() and int(size) > 1 for size in sizes)
