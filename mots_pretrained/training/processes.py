"""One training on several processes: each takes its share of a step, gradients are averaged.

Launchers (torchrun, ``accelerate launch``, mpirun) start the same command several times and tell
each its number; torch.distributed does the rest. Gradients are averaged once a step, after its last
micro-batch, in one all-reduce: the result is that of one process with as many more micro-batches.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from mots_pretrained.errors import UserError

_RANK = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
_COUNT = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_LOCAL = (
    "LOCAL_RANK",
    "MPI_LOCALRANKID",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MV2_COMM_WORLD_LOCAL_RANK",
)


@dataclass(frozen=True)
class Processes:
    """The processes that train together; by default this one alone.

    Attributes:
        rank: This one's number; 0 is the main one, which alone writes.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and shows."""
        return self.rank == 0

    def share(self, step: int, accumulate: int) -> range:
        """Return the numbers of the micro-batches that are this process's in a step.

        Args:
            step: Number of the step.
            accumulate: Micro-batches a step of each process.
        """
        first = step * accumulate * self.count
        return range(first + self.rank, first + accumulate * self.count, self.count)

    def average(self, values: Tensor) -> Tensor:
        """Return the mean over the processes of a tensor that all of them have."""
        if self.count > 1:
            distributed.all_reduce(values)
            values /= self.count
        return values

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Put the mean over the processes in place of each gradient.

        A weight without a gradient on all of them is left without one: an optimiser passes over
        it, as it does on one process.
        """
        if self.count == 1:
            return
        chosen = [p for p in parameters if p.requires_grad]
        there = torch.tensor([p.grad is not None for p in chosen], device=chosen[0].device)
        parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in chosen]
        joined = self.average(torch.cat([there.to(parts[0].dtype), *parts]))
        for p, known, mean in zip(
            chosen,
            joined[: len(chosen)].tolist(),
            joined[len(chosen) :].split([p.numel() for p in chosen]),
            strict=True,
        ):
            p.grad = mean.view_as(p) if known else None

    def any(self, value: bool, device: torch.device) -> bool:
        """Return whether a value is true on any process, the same on all."""
        return bool(self.average(torch.tensor(float(value), device=device)) > 0)


def launched() -> Processes:
    """Return what the launcher of this process says; one alone if there was none.

    Raises:
        ValueError: If ``accelerate launch --cpu`` was asked for several processes: without MPI it
            starts one.
    """
    rank, count = _number(_RANK, 0), _number(_COUNT, 1)
    alone = not any(name in os.environ for name in (*_RANK, *_COUNT))
    if alone and os.environ.get("ACCELERATE_USE_CPU") == "True" and "MASTER_PORT" in os.environ:
        raise UserError(
            "accelerate launch --cpu starts several processes only by MPI (--mpirun_hostfile); "
            "without MPI use torchrun --nproc-per-node N, or accelerate launch --multi_gpu with "
            "--device cpu after the verb"
        )
    return Processes(rank, count)


def device_of_process(device: str) -> str:
    """Return the device that this process trains on: of several GPUs, the one of its number."""
    if device == "cuda" and launched().count > 1:
        return f"cuda:{_number(_LOCAL, 0) % torch.cuda.device_count()}"
    return device


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that a launcher started, by NCCL on GPUs and by gloo elsewhere.

    Yields:
        Which of them this one is; nothing is joined where it is alone.
    """
    processes = launched()
    if processes.count == 1:
        yield processes
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo", rank=processes.rank, world_size=processes.count
    )
    try:
        yield processes
    finally:
        distributed.destroy_process_group()


def _number(names: tuple[str, ...], default: int) -> int:
    return next((int(os.environ[name]) for name in names if name in os.environ), default)
