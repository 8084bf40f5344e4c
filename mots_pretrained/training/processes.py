"""Which of several processes this one is, by the variables of its launcher; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

_LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),  # torchrun, accelerate launch
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # mpirun of Open MPI
    ("PMI_RANK", "PMI_SIZE"),  # mpirun of MPICH and Intel
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  # srun; a batch script or salloc has no step's
)
"""Names of rank and number of processes; srun is last, for mpirun starts its own by it."""


def rank_and_count(environment: Mapping[str, str]) -> tuple[int, int]:
    """Return the rank of a process among those that its launcher has started, and their number.

    Args:
        environment: The process's variables.

    Example:
        >>> rank_and_count({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8"})
        (5, 8)
        >>> rank_and_count({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"})  # a batch script
        (0, 1)
    """
    for rank, count in _LAUNCHERS:
        if environment.get(rank) and environment.get(count):
            return int(environment[rank]), int(environment[count])
    return 0, 1
