"""An endless, seeded stream of training patches that needs no state to be resumed (Sec. 4.1)."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mots_pretrained.batch import Batch
from mots_pretrained.data.augment import Augmentation, change_appearance, draw_matrix, mirror
from mots_pretrained.data.patches import Case, Size, draw_start, extract

Source = Callable[[int], Case]
"""Gives case number i of a stream without end; a pure function, picklable for worker processes."""


@dataclass(frozen=True)
class Sampling:
    """How patches are drawn.

    Attributes:
        patch: Voxels along (D, H, W).
        spacing: Millimetres along (D, H, W), for rotations.
        fill: Image value outside a scan: the contract's lowest.
        foreground: Probability that a patch is centred on something labelled.
        patches_per_case: Patches cut from a case each time that it is made or read.
        cases_per_block: Cases whose patches are shuffled together; one block more is held ready.
        augmentation: None for plain patches.
    """

    patch: Size
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    fill: float = -1.0
    foreground: float = 0.5
    patches_per_case: int = 4
    cases_per_block: int = 14
    augmentation: Augmentation | None = None


@dataclass(frozen=True)
class PatchStream:
    """Patches without end: sample ``k`` is a pure function of the source, ``seed`` and ``k``.

    So the stream is the same for any number of workers and can be entered at any point. Making a
    case costs more than cutting it, hence each gives several patches; those of some cases are
    shuffled together, so that a batch rarely holds two of one case.

    Attributes:
        source: Gives case number i.
        sampling: How patches are drawn.
        seed: Of positions, augmentation and order; the source has its own.
        workers: Processes that make cases and patches; 0 makes them in this one.
    """

    source: Source
    sampling: Sampling
    seed: int = 0
    workers: int = 0

    def batches(self, size: int, *, start: int = 0) -> Iterator[Batch]:
        """Yield batch number ``start``, ``start + 1`` and so on, each of ``size`` samples."""
        samples = self._samples(start * size)
        while True:
            yield Batch.stack([next(samples) for _ in range(size)])

    def _samples(self, first: int) -> Iterator[Batch]:
        cases, patches = self.sampling.cases_per_block, self.sampling.patches_per_case
        block, skip = divmod(first, cases * patches)
        made = self._cut_cases(block * cases)
        while True:
            pool = [patch for _ in range(cases) for patch in next(made)]
            order = np.random.default_rng([self.seed, 0, block]).permutation(len(pool))
            for position in order[skip:]:
                yield _to_batch(*pool[position])
            block, skip = block + 1, 0

    def _cut_cases(self, first: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the patches of case ``first``, ``first + 1`` and so on, in this order."""
        jobs = _Jobs(self)
        if self.workers == 0:
            for index in itertools.count(first):
                yield jobs[index]
        yield from DataLoader(
            jobs,
            batch_size=None,
            sampler=itertools.count(first),
            num_workers=self.workers,
            prefetch_factor=max(2, -(-self.sampling.cases_per_block // self.workers)),
            worker_init_fn=_end_with_parent,
            generator=torch.Generator(),  # else it would draw from the global one, dropout's
            collate_fn=_as_it_is,  # arrays go through a pipe: /dev/shm is small in many containers
        )

    def cut(self, index: int) -> list[tuple[Any, ...]]:
        """Make case ``index`` and cut its patches: (image, target, labelled, tasks) each."""
        case = self.source(index)
        rng = np.random.default_rng([self.seed, 1, index])
        return [
            (*draw_patch(case, self.sampling, rng), case.labelled, case.tasks)
            for _ in range(self.sampling.patches_per_case)
        ]


def draw_patch(
    case: Case, sampling: Sampling, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut one patch and augment it.

    Returns:
        Image ``(C, *patch)`` float32 and target ``(K, *patch)`` uint8.
    """
    start = draw_start(case, sampling.patch, rng, foreground=sampling.foreground)
    augmentation = sampling.augmentation
    if augmentation is None:
        return extract(case, start, sampling.patch, fill=sampling.fill)
    matrix = draw_matrix(augmentation, rng, spacing=sampling.spacing)
    image, target = extract(case, start, sampling.patch, fill=sampling.fill, matrix=matrix)
    image, target = mirror(image, target, augmentation, rng)
    return change_appearance(image, augmentation, rng), np.ascontiguousarray(target)


@dataclass(frozen=True)
class Cycle:
    """A source that goes round a list of cases, in a new order each time.

    Attributes:
        cases: The cases, held in memory.
        seed: Of the orders.
    """

    cases: Sequence[Case]
    seed: int = 0

    def __call__(self, index: int) -> Case:
        """Return case number ``index`` of the endless round."""
        epoch, position = divmod(index, len(self.cases))
        order = np.random.default_rng([self.seed, 2, epoch]).permutation(len(self.cases))
        return self.cases[order[position]]


class _Jobs(Dataset[Any]):
    """Case number to patches, for worker processes."""

    def __init__(self, stream: PatchStream) -> None:
        self.stream = stream

    def __getitem__(self, index: int) -> list[tuple[Any, ...]]:
        return self.stream.cut(index)


def _end_with_parent(_: int) -> None:
    """Let a worker end when its parent is killed; it would wait for its full pipe to be read."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _as_it_is(patches: Any) -> Any:
    return patches


def _to_batch(
    image: np.ndarray, target: np.ndarray, labelled: tuple[bool, ...], tasks: tuple[int, ...]
) -> Batch:
    return Batch(
        image=torch.from_numpy(image)[None],
        target=torch.from_numpy(target)[None].float(),
        labelled=torch.tensor([labelled]),
        task=torch.tensor([tasks], dtype=torch.int64),
    )
