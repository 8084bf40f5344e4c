"""Work shared out to the machines of a Ray cluster, which share a disk."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from mots_pretrained.errors import UserError

J = TypeVar("J")
R = TypeVar("R")

_TRIES = 3  # of a job whose machine is lost


def connected() -> Any:
    """Return Ray, connected to the cluster of ``RAY_ADDRESS``, or to one of this machine alone.

    Raises:
        UserError: If Ray is not installed, or the cluster is not to be reached.
    """
    try:
        import ray
    except ImportError:
        raise UserError(
            "--engine ray needs the package ray; install it with pip install 'mots_pretrained[ray]'"
        ) from None
    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except Exception as error:  # Ray raises plain ones where a node does not start in time
            told = " ".join(f"{error}".split())
            raise UserError(
                f"no Ray cluster at {os.environ.get('RAY_ADDRESS', 'this machine')} ({told:.200})"
            ) from None
    return ray


def work_off_by_ray(work: Callable[[J], R], jobs: Sequence[J]) -> Iterator[tuple[J, R]]:
    """Do jobs on the cluster, and yield each with its result as it comes to an end.

    A job whose machine is lost is done again on another.

    Args:
        work: Does one job, on one core; a function that other machines can import.
        jobs: The jobs, picklable; their paths are known to all machines.

    Raises:
        UserError: If Ray is not installed, or a job's machine was lost time and again.
        Exception: What a job has raised.
    """
    ray = connected()
    task = ray.remote(num_cpus=1, max_retries=_TRIES)(_there)
    running = {task.remote(work, job, os.getcwd()): job for job in jobs}
    while running:
        ready, _ = ray.wait([*running])
        job = running.pop(ready[0])
        try:
            result = ray.get(ready[0])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            told = " ".join(f"{error}".split())
            raise UserError(
                f"the Ray cluster has lost a job time and again ({told:.200}); run the same "
                "command again, it goes on where it stopped"
            ) from None
        yield job, result


def _there(work: Callable[[J], R], job: J, folder: str) -> R:
    """Do a job where paths are given from."""
    os.chdir(folder)
    return work(job)
