"""Fitting a command to its machine: device, threads, allocator, arithmetic and generators."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from mots_pretrained.errors import UserError
from mots_pretrained.training.launch import cores_a_process, join_slurm

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc


def best_device(name: str = "auto") -> str:
    """Return a torch device's name: the given one, or the best that there is for ``"auto"``.

    Raises:
        UserError: If there is no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"unknown device {name!r}; allowed are auto, cpu, cuda, cuda:1")
    number = int(name.partition(":")[2] or 0)
    if name != "cpu" and number >= (torch.cuda.device_count() if torch.cuda.is_available() else 0):
        raise UserError(f"device {name!r} is not there on this machine; use cpu, or auto")
    return name


def compute_deterministically(device: str, *, training: bool = False) -> None:
    """Use deterministic kernels alone in this process; an operation without one then fails.

    Args:
        device: Device to compute on.
        training: Whether gradients are computed.

    Raises:
        UserError: If the network's backward pass has no deterministic form on the device.
    """
    if training and device != "cpu":
        raise UserError(
            "upsampling and deformable attention have no deterministic form on cuda for training; "
            "train with --device cpu, or leave out --deterministic"
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def prepare_machine(device: str, *, workers: int = -1, threads: int = 0) -> int:
    """Set threads and allocator of this process, and return the number of worker processes.

    A phantom costs about as much of one core as two training steps of the small network cost of
    both, so beside a CPU's own training one worker does; a GPU wants all cores but one of those
    that are this process's own.

    Args:
        device: Device that the network runs on.
        workers: Processes wanted; -1 leaves it to this function.
        threads: Threads of torch in this process; 0 leaves them.
    """
    if threads > 0:
        torch.set_num_threads(threads)
    join_slurm(os.environ)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    own = cores_a_process(cores or 1, os.environ)
    if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1 and "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(own)
        torch.set_num_threads(own)
    if device == "cpu":
        keep_freed_memory()
    if workers >= 0:
        return workers
    return 1 if device == "cpu" else max(1, min(own - 1, 15))


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


@contextmanager
def flushed_denormals(device: torch.device) -> Iterator[None]:
    """Let a CPU take denormal numbers for 0, with which arithmetic may be a hundred times slower.

    Not beyond torch's own: scipy's trees of points do not end where denormals are none.
    """
    if device.type == "cpu":
        torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def kept_generators() -> Iterator[None]:
    """Put torch's global random generators back afterwards as they were."""
    cuda = torch.cuda.is_available()
    own, others = torch.get_rng_state(), torch.cuda.get_rng_state_all() if cuda else []
    try:
        yield
    finally:
        torch.set_rng_state(own)
        if others:
            torch.cuda.set_rng_state_all(others)


@contextmanager
def delayed_sigterm() -> Iterator[Callable[[], bool]]:
    """Hold back SIGTERM, which schedulers send before they kill, until the context is left.

    A second one takes effect at once, and so does one in a process that was forked meanwhile. In
    another than the main thread, where Python hears no signals, nothing is held back.

    Yields:
        A function that tells whether one has come.

    Warns:
        UserWarning: Of an error that leaves the context after one has come: the process may not
            live to tell it.
    """
    owner, came = os.getpid(), False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGTERM, before)
        if os.getpid() != owner:
            signal.raise_signal(number)

    try:
        before = signal.signal(signal.SIGTERM, note) or signal.SIG_DFL
    except ValueError:
        yield lambda: False
        return
    try:
        yield lambda: came
    except Exception as error:
        if came:
            warnings.warn(f"ended by SIGTERM, and before that by: {error}", stacklevel=3)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        if came:
            signal.raise_signal(signal.SIGTERM)


@contextmanager
def exiting_on_sigterm() -> Iterator[None]:
    """Let SIGTERM leave the context as an exit does, so that what it holds is tidied up.

    In another than the main thread, where Python hears no signals, SIGTERM ends all at once.
    """
    owner = os.getpid()

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != owner:  # forked meanwhile
            signal.raise_signal(number)
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, leave) or signal.SIG_DFL
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
