"""Several processes as one: `jax.distributed`, started once, from arguments or from the cluster's own variables.

cluster      known by                                      the rest
SLURM        SLURM_JOB_ID … of a step of several tasks     jax reads it
Open MPI     OMPI_MCA_orte_hnp_uri, several ranks          jax reads it
Kubernetes   KUBERNETES_SERVICE_HOST and a job's index     jax asks the cluster, by the package `kubernetes`
by hand      JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES, JAX_PROCESS_ID
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np

from artifex.core.errors import ConfigError

SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
OPEN_MPI = ("OMPI_MCA_orte_hnp_uri", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
KUBERNETES = ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX")
BY_HAND = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


@dataclass(frozen=True)
class ProcessInfo:
    """Which process this is."""

    index: int
    count: int


def bootstrap(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> ProcessInfo:
    """Join the other processes, if there are any; a second call changes nothing.

    Alone, it starts no backend: how many devices there are can still be chosen.

    Args:
        coordinator: `host:port` of process 0; without it, the environment is asked.

    Raises:
        ConfigError: an argument or a variable is missing, or jax is already at work.
    """
    if jax.distributed.is_initialized():
        return ProcessInfo(jax.process_index(), jax.process_count())
    given = (coordinator, num_processes, process_id)
    if given == (None, None, None):
        given = _by_hand(os.environ)
    if None in given and given != (None, None, None):
        raise ConfigError(
            f"bootstrap: expected a coordinator 'host:port', num_processes and process_id together, got {given}. "
            f"Give all three, as arguments or as {', '.join(BY_HAND)}."
        )
    if given == (None, None, None) and cluster(os.environ) is None:
        return ProcessInfo(0, 1)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # CPU processes need a way to talk
    try:
        jax.distributed.initialize(*given)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"bootstrap: expected to join process {given[2]} of {given[1]} at {given[0]}, got: {error} "
            "Call it before anything else of jax, and give every process the same coordinator."
        ) from error
    return ProcessInfo(jax.process_index(), jax.process_count())


def is_writer() -> bool:
    """Whether this process writes files; exactly one does."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Whether the flag is set in at least one process; all of them must ask."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def cluster(environ: Mapping[str, str]) -> str | None:
    """The cluster that started this process as one of several, if one did."""
    if all(name in environ for name in SLURM) and int(environ["SLURM_NTASKS"]) > 1:
        return "slurm"
    if all(name in environ for name in OPEN_MPI) and int(environ["OMPI_COMM_WORLD_SIZE"]) > 1:
        return "ompi"
    return "k8s" if all(name in environ for name in KUBERNETES) else None


def _by_hand(environ: Mapping[str, str]) -> tuple[str | None, int | None, int | None]:
    """Coordinator, number and index of processes, where the variables say so."""
    address, *numbers = (environ.get(name) for name in BY_HAND)
    if any(number is not None and not number.isdigit() for number in numbers):
        raise ConfigError(
            f"bootstrap: expected whole numbers in {BY_HAND[1]} and {BY_HAND[2]}, got {numbers}. Mend them."
        )
    count, index = (None if number is None else int(number) for number in numbers)
    return address, count, index
