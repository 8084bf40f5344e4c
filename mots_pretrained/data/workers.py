"""Work shared out to worker processes, which end with the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from mots_pretrained.errors import UserError

J = TypeVar("J")
R = TypeVar("R")


def work_off(
    work: Callable[[J], R], jobs: Sequence[J], *, workers: int = 0, again: str = ""
) -> Iterator[tuple[J, R]]:
    """Do jobs in worker processes, and yield each with its result as it comes to an end.

    Args:
        work: Does one job; a function that other processes can import.
        jobs: The jobs, picklable.
        workers: Processes; 0 or 1 works in this one. They are started afresh, so a script's own
            code must stand under ``if __name__ == "__main__"``.
        again: What a user is told to do if a worker dies, beside taking fewer workers.

    Raises:
        UserError: If a worker died.
    """
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job, work(job)
        return
    # a forked process could hold a lock of a thread that it has not
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=context, initializer=end_with_parent
    ) as pool:
        running = {pool.submit(work, job): job for job in jobs}
        try:
            for future in as_completed(running):
                yield running[future], future.result()
        except BrokenProcessPool:
            raise UserError(
                "a worker process died, perhaps for lack of memory; run the same command with "
                f"fewer workers{again}"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def told_of_loaders() -> Iterator[None]:
    """Say plainly that a DataLoader's worker has died, which a signal tells of anywhere within.

    Raises:
        UserError: If one has.
    """
    try:
        yield
    except RuntimeError as error:
        if not f"{error}".startswith("DataLoader worker"):
            raise
        raise UserError(
            "a worker process died, perhaps for lack of memory; run the same command with "
            "--resume and fewer --workers, it goes on from the last checkpoint"
        ) from None


def cores() -> int:
    """Return the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def outlast_sigterm(closing: Any, _: int) -> None:
    """Let this worker of a DataLoader end with its parent, and by the first SIGTERM not yet.

    A scheduler sends that to a whole group of processes; the parent wants patches up to the
    checkpoint that it then writes (``delayed_sigterm``). A second one takes effect, as it does
    there.

    Args:
        closing: Shared number, not 0 when the loader is being closed: then it ends a worker that
            is long over a case by a SIGTERM, which takes effect.
    """

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if closing.value:
            signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)
    end_with_parent()


def end_with_parent() -> None:
    """Let this worker end as soon as its parent has; it would wait for a pipe for ever."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
