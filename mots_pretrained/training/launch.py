"""Joining the processes of one training: torchrun, ``accelerate launch``, mpirun or srun."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import count as counter
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from mots_pretrained.errors import UserError
from mots_pretrained.inference.precision import choose_precision
from mots_pretrained.training.processes import rank_and_count
from mots_pretrained.training.recipe import Run

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")

_TIMEOUT = timedelta(hours=2)  # of processes that exchange something
_LOOK_EVERY = 0.2  # seconds, of processes that wait for the main one's work
_turns = counter()  # of waiting for the main process
_MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


@contextmanager
def accelerated(run: Run, precision: str) -> Iterator[Accelerator]:
    """Join the processes that torchrun, ``accelerate launch``, mpirun or srun started, if any.

    Raises:
        UserError: If the device can't compute in this precision, or ``accelerate launch --cpu``
            was asked for several processes, of which it starts one without MPI.
        ConnectionError: If another of the processes has ended before its time.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

    cpu = run.device == "cpu"
    choose_precision(precision, torch.device(run.device))
    is_alone = "WORLD_SIZE" not in os.environ and rank_and_count(os.environ) == (0, 1)
    if is_alone and "MASTER_PORT" in os.environ and os.environ.get("ACCELERATE_USE_CPU") == "True":
        raise UserError(
            "accelerate launch --cpu starts several processes only by MPI; use torchrun "
            "--nproc-per-node N, or accelerate launch --multi_gpu with --device cpu"
        )
    join_slurm(os.environ)
    if ":" in run.device:
        torch.cuda.set_device(run.device)
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=_MIXED[precision],
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=_TIMEOUT),
        ],
    )
    try:
        yield accelerator
    except BaseException as error:
        lost = accelerator.num_processes > 1 and _is_lost_contact(error)
        if cpu:  # closes the connections that others wait at; NCCL's would have to be waited for
            accelerator.end_training()
        if lost:
            told = " ".join(f"{error}".split())
            raise ConnectionError(
                "another process of this training has ended, or is out of reach; what it told says "
                f"why ({told:.200})"
            ) from error
        raise
    else:
        accelerator.end_training()
    finally:
        GradientState._reset_state()
        AcceleratorState._reset_state(reset_partial_state=True)


def _is_lost_contact(error: BaseException) -> bool:
    """Whether an error is that of NCCL, of gloo or of the store at which the processes met."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return type(error) is RuntimeError and "gloo" in f"{error}"


def on_main(accelerator: Accelerator, work: Callable[[], T]) -> T:
    """Do something in the main process, and return what it gave in all of them.

    The others wait as long as it takes, or until the main process has ended.

    Raises:
        Exception: What the work raised; in the other processes the same error of the system, or
            of the user's input, or else a RuntimeError of the same text.
    """
    if accelerator.num_processes == 1:
        return work()
    from accelerate.utils import broadcast_object_list

    outcome: list[Any] = [None, None]
    failure: Exception | None = None
    if accelerator.is_main_process:
        try:
            outcome[0] = work()
        except Exception as error:
            failure = error
            outcome[1] = _sendable(error)
    _await_main(accelerator)
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise failure or outcome[1]
    return cast(T, outcome[0])


def _sendable(error: Exception) -> Exception:
    """Return the system's error as it is; else one of the same text that can always be sent."""
    if isinstance(error, UserError):
        return UserError(f"{error}")
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror, error.filename)
    return RuntimeError(f"{error}")


def _await_main(accelerator: Accelerator) -> None:
    """Wait until the main process comes here, too: a broadcast would end by its time limit.

    Looking is an exchange with the store, which the main process holds and which ends with it;
    where torchrun holds it, torchrun ends the other processes.
    """
    store = torch.distributed.distributed_c10d._get_default_store()
    if store is None:  # of MPI, which has no time limit
        return
    key = f"mots_pretrained/on_main/{next(_turns)}"  # all processes come here equally often
    if accelerator.is_main_process:
        store.set(key, "done")
    while not store.check([key]):
        time.sleep(_LOOK_EVERY)


def join_slurm(environment: MutableMapping[str, str]) -> None:
    """Give the processes that ``srun`` started the variables that torchrun would set.

    A step of one task is left as it is, and so is one in which torchrun, ``accelerate launch`` or
    mpirun has started its own.

    Args:
        environment: The process's variables, changed in place.
    """
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if tasks == "1" or "WORLD_SIZE" in environment or "SLURM_PROCID" not in environment:
        return
    rank, count = rank_and_count(environment)
    if count != int(tasks):
        return
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_JOB_NODELIST", ""))
    first = re.match(r"([^,\[]+)(?:\[([0-9]+))?", nodes)  # gpu[003-005,8] begins with gpu003
    job = re.sub(r"\D", "", environment.get("SLURM_JOB_ID", "0")) or "0"
    found = {
        "RANK": str(rank),
        "WORLD_SIZE": tasks,
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "LOCAL_WORLD_SIZE": str(_tasks_a_node(environment)),
        "MASTER_ADDR": "".join(part or "" for part in first.groups()) if first else "127.0.0.1",
        "MASTER_PORT": str(20000 + int(job) % 20000),
    }
    for name, value in found.items():
        environment.setdefault(name, value)


def cores_a_process(cores: int, environment: Mapping[str, str]) -> int:
    """Return how many of the cores that a process may run on are its own.

    Processes that torchrun started share them. To a task of ``srun`` Slurm binds the cores of
    srun's own ``--cpus-per-task``, unless the cluster binds none. Since Slurm 22.05 that is one
    core where neither srun nor ``SRUN_CPUS_PER_TASK`` says more, whatever the batch script does.

    Args:
        cores: Cores that this process may run on.
        environment: Its variables, after :func:`join_slurm`.
    """
    beside = int(environment.get("LOCAL_WORLD_SIZE", "1"))
    is_task = _tasks_a_node(environment) == beside
    if is_task and cores <= int(environment.get("SLURM_CPUS_PER_TASK", "0")):
        return cores
    return max(1, cores // beside)


def _tasks_a_node(environment: Mapping[str, str]) -> int:
    tasks = re.match(r"\d+", environment.get("SLURM_STEP_TASKS_PER_NODE", "1"))  # as in 4(x2)
    return int(tasks.group()) if tasks else 1
