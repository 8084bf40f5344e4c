"""Fitting a training to its machine: the device, threads, worker processes and the allocator."""

from __future__ import annotations

import ctypes
import os
import sys

import torch

from mots_pretrained.errors import UserError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc


def best_device(name: str = "auto") -> str:
    """Return a torch device's name: the given one, or the best that there is for ``"auto"``.

    Raises:
        ValueError: If there is no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = name.split(":")[0]
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if kind not in there:
        raise UserError(f"unknown device {name!r}; allowed are auto, {', '.join(there)}")
    if not there[kind]:
        raise UserError(f"device {name!r} is not there on this machine; use cpu, or auto")
    return name


def prepare_machine(device: str, *, workers: int = -1, threads: int = 0, processes: int = 1) -> int:
    """Set threads and allocator of this process, and return the number of worker processes.

    A phantom costs about as much of one core as two training steps of the small network cost of
    both, so beside a CPU's own training one worker does; a GPU wants all cores but one.

    Args:
        device: Where the network trains.
        workers: Wanted; -1 leaves it to this function.
        threads: Of torch in this process; 0 leaves them.
        processes: Trainings like this one that share the machine.
    """
    if threads > 0:
        torch.set_num_threads(threads)
    if device == "cpu":
        keep_freed_memory()
    if workers >= 0:
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 1 if device == "cpu" else max(1, min((cores or 1) // processes - 1, 15))


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for this process instead of giving it back.

    Activations of a volume are large enough to be mapped and unmapped anew each time, and half of
    a forward pass can go into the kernel's page faults. Does nothing where there is no glibc.

    Returns:
        Whether it took.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 2**28))
    return all(mallopt(name, value) for name, value in settings)
