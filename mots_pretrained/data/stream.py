"""An endless, seeded stream of training patches that needs no state to be resumed (Sec. 4.1)."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mots_pretrained.batch import Batch
from mots_pretrained.data.augment import (
    Augmentation,
    change_appearance,
    draw_matrix,
    draw_mirror,
)
from mots_pretrained.data.case import Case
from mots_pretrained.data.patches import Pad, draw_start, extract
from mots_pretrained.data.sides import Order
from mots_pretrained.data.workers import outlast_sigterm
from mots_pretrained.errors import UserError
from mots_pretrained.shapes import Size

Source = Callable[[int], Case]
"""Gives case number i of a stream without end; a pure function, picklable for worker processes."""


@dataclass(frozen=True)
class Sampling:
    """How patches are drawn.

    Attributes:
        patch: Voxels along (D, H, W).
        spacing: Millimetres along (D, H, W), for rotations.
        pad: Image outside a scan: its outermost voxels repeated, or a constant.
        foreground: Probability that a patch is centred on something labelled.
        patches_per_case: Patches cut from a case each time that it is made or read.
        cases_per_block: Cases whose patches are shuffled together; one block more is held ready.
        augmentation: None for plain patches.
        sides: Which class each becomes where left and right change places; for cases of MOTS's
            tasks, which task. None where no class is lateral.
    """

    patch: Size
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pad: Pad = "edge"
    foreground: float = 0.5
    patches_per_case: int = 4
    cases_per_block: int = 14
    augmentation: Augmentation | None = None
    sides: Order | None = None


@dataclass(frozen=True)
class PatchStream:
    """Patches without end: sample ``k`` is a pure function of the source, ``seed`` and ``k``.

    So the stream is the same for any number of workers, can be entered at any point, and several
    processes can share it. Making a case may cost more than cutting it, hence each gives several
    patches; those of some cases are shuffled together, so that a batch rarely holds two of one.

    Attributes:
        source: Gives case number i.
        sampling: How patches are drawn.
        seed: Random seed for positions, augmentation and order; the source has its own.
        workers: Processes that make cases and patches; 0 makes them in this one.
    """

    source: Source
    sampling: Sampling
    seed: int = 0
    workers: int = 0

    def batches(self, size: int, *, start: int = 0, stride: int = 1) -> Iterator[Any]:
        """Yield batches number ``start``, ``start + stride`` and so on, each of ``size`` samples.

        Cases that none of these need are not made.
        """
        samples = self._samples(
            number * size + place
            for number in itertools.count(start, stride)
            for place in range(size)
        )
        while True:
            yield self.joined([next(samples) for _ in range(size)])

    def _samples(self, numbers: Iterator[int]) -> Iterator[Any]:
        """Yield the samples of rising numbers."""
        plans, ahead = itertools.tee(self._plans(numbers))
        made = self._cut_all(job for jobs in ahead for job in jobs[0])
        for jobs, wanted in plans:
            block = {job.case: dict(zip(job.patches, next(made), strict=True)) for job in jobs}
            for case, patch in wanted:
                yield self.sample(*block[case].pop(patch))

    def _plans(self, numbers: Iterator[int]) -> Iterator[tuple[list[_Job], list[tuple[int, int]]]]:
        """Yield, a block, what has to be cut, and (case, patch) of each sample in its turn."""
        cases, patches = self.sampling.cases_per_block, self.sampling.patches_per_case
        for block, members in itertools.groupby(numbers, lambda n: n // (cases * patches)):
            order = np.random.default_rng([self.seed, 0, block]).permutation(cases * patches)
            places = [divmod(int(order[n % len(order)]), patches) for n in members]
            wanted = [(block * cases + case, patch) for case, patch in places]
            needed: dict[int, list[int]] = {}
            for case, patch in sorted(wanted):
                needed.setdefault(case, []).append(patch)
            yield [_Job(case, tuple(chosen)) for case, chosen in needed.items()], wanted

    def _cut_all(self, jobs: Iterator[_Job]) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the patches of each job, in this order."""
        if self.workers == 0:
            for job in jobs:
                yield self.cut(job)
        closing = multiprocessing.RawValue("b", 0)
        loader = DataLoader(
            _Cutter(self),
            batch_size=None,
            sampler=jobs,
            num_workers=self.workers,
            prefetch_factor=max(2, -(-self.sampling.cases_per_block // self.workers)),
            worker_init_fn=partial(outlast_sigterm, closing),
            generator=torch.Generator(),  # else it would draw from the global one, dropout's
            collate_fn=_as_it_is,  # arrays go through a pipe: /dev/shm is small in many containers
        )
        try:
            for cut in loader:
                if isinstance(cut, UserError):
                    raise cut
                yield cut
        except Exception as error:  # its frames would keep the workers until some collection
            raise error.with_traceback(None) from None
        finally:
            closing.value = 1

    def cut(self, job: _Job) -> list[tuple[Any, ...]]:
        """Make a case and cut patches: (image, target, labelled, tasks) each."""
        case = self.source(job.case)
        chances = [np.random.default_rng([self.seed, 1, job.case, n]) for n in job.patches]
        return [self.draw(case, chance) for chance in chances]

    def draw(self, case: Case, rng: np.random.Generator) -> tuple[Any, ...]:
        """Cut one sample out of a case, as arrays."""
        return draw_patch(case, self.sampling, rng)

    def sample(self, *arrays: Any) -> Any:
        """Make what ``draw`` returned a batch of one."""
        return _to_batch(*arrays)

    def joined(self, samples: list[Any]) -> Any:
        """Make batches of one a batch."""
        return Batch.stack(samples)


class _Job(NamedTuple):
    """A case's number and those of its patches that are wanted."""

    case: int
    patches: tuple[int, ...]


def draw_patch(
    case: Case, sampling: Sampling, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, tuple[bool, ...], tuple[int, ...]]:
    """Cut one patch and augment it.

    Returns:
        Image ``(C, *patch)`` float32, target ``(K, *patch)`` uint8 (``IGNORED`` outside the scan),
        which of its channels are labelled, and the tasks that it is of.
    """
    start = draw_start(case, sampling.patch, rng, foreground=sampling.foreground)
    augmentation = sampling.augmentation
    if augmentation is None:
        image, target = extract(case, start, sampling.patch, pad=sampling.pad)
        return image, target, case.labelled, case.tasks
    matrix = draw_matrix(augmentation, rng, spacing=sampling.spacing)
    image, target = _scaled(case, start, sampling, augmentation, matrix)
    flipped = draw_mirror(augmentation, rng)
    axes = tuple(1 + axis for axis in flipped)
    image, target = np.flip(image, axes), np.flip(target, axes)
    labels = (target, case.labelled, case.tasks)
    if 2 in flipped and sampling.sides is not None:
        labels = swap_sides(*labels, order=sampling.sides)
    image = change_appearance(image, augmentation, rng)
    return image, np.ascontiguousarray(labels[0]), *labels[1:]


def _scaled(
    case: Case,
    start: Size,
    sampling: Sampling,
    augmentation: Augmentation,
    matrix: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a patch, scaled and turned; with a border out of what the plain cut shows."""
    pad = sampling.pad if augmentation.border is None else augmentation.border
    if matrix is None or augmentation.border is None:
        return extract(
            case, start, sampling.patch, pad=pad, matrix=matrix, orders=augmentation.orders
        )
    plain = Case(*extract(case, start, sampling.patch, pad=pad))
    return extract(
        plain, (0, 0, 0), sampling.patch, pad=pad, matrix=matrix, orders=augmentation.orders
    )


def swap_sides(
    target: np.ndarray, labelled: tuple[bool, ...], tasks: tuple[int, ...], *, order: Order
) -> tuple[np.ndarray, tuple[bool, ...], tuple[int, ...]]:
    """Give the classes of a mirrored patch their counterparts' places.

    Args:
        target: ``(K, D, H, W)`` uint8, mirrored: of MOTS's tasks, one channel a class, or one
            channel of class values from 1.
        labelled: Which of its channels, or classes, are annotated.
        tasks: The case's tasks, whose channels stay in their order; empty where it has none.
        order: Which task, or which class, each becomes; twice is back again.

    Returns:
        The three as they are now.
    """
    if tasks:
        return target, labelled, tuple(order[task] for task in tasks)
    if len(target) == len(order):
        return target[list(order)], tuple(labelled[place] for place in order), tasks
    values = np.arange(256, dtype=np.uint8)
    values[1 : len(order) + 1] = np.array(order) + 1  # 0 and the value to ignore stay
    if len(labelled) == len(order):
        labelled = tuple(labelled[place] for place in order)
    return values[target], labelled, tasks


@dataclass(frozen=True)
class Cycle:
    """A source that goes round a list of cases, in a new order each time.

    Attributes:
        cases: The cases, held in memory.
        seed: Random seed for the orders.
    """

    cases: Sequence[Case]
    seed: int = 0

    def __call__(self, index: int) -> Case:
        """Return case number ``index`` of the endless round."""
        epoch, position = divmod(index, len(self.cases))
        order = np.random.default_rng([self.seed, 2, epoch]).permutation(len(self.cases))
        return self.cases[order[position]]


class _Cutter(Dataset[Any]):
    """Jobs to patches, for worker processes."""

    def __init__(self, stream: PatchStream) -> None:
        self.stream = stream

    def __getitem__(self, job: _Job) -> list[tuple[Any, ...]] | UserError:
        try:
            return self.stream.cut(job)
        except UserError as error:  # which the loader would raise with the worker's traceback
            return error


def _as_it_is(patches: Any) -> Any:
    return patches


def _to_batch(
    image: np.ndarray, target: np.ndarray, labelled: tuple[bool, ...], tasks: tuple[int, ...]
) -> Batch:
    return Batch(
        image=torch.from_numpy(image)[None],
        target=torch.from_numpy(target)[None],
        labelled=torch.tensor([labelled]),
        task=torch.tensor([tasks], dtype=torch.int64),
    )
