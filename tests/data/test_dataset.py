"""The stream: the same for any number of workers, from any point, with every patch in its turn."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mots_pretrained.data.augment import Augmentation
from mots_pretrained.data.dataset import Cycle, PatchStream, Sampling
from mots_pretrained.data.patches import Case

# How many cores the testing machine has is not the matter here.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

SAMPLING = Sampling(patch=(4, 4, 4), patches_per_case=3, cases_per_block=4)


@dataclass(frozen=True)
class Numbered:
    """Case i is filled with the number i, of task i mod 7."""

    fail_at: int | None = None

    def __call__(self, index):
        if index == self.fail_at:
            raise ValueError(f"case {index} is broken")
        image = np.full((1, 6, 6, 6), index, np.float32)
        target = np.zeros((2, 6, 6, 6), np.uint8)
        target[1, 2, 3, 4] = 1
        return Case(image, target, (False, True), (index % 7,), f"case {index}")


def take(stream, count, *, start=0, size=2):
    return list(itertools.islice(stream.batches(size, start=start), count))


def same(first, second):
    return all(
        torch.equal(getattr(a, name), getattr(b, name))
        for a, b in zip(first, second, strict=True)
        for name in ("image", "target", "labelled", "task")
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(workers):
    sampling = Sampling(
        (4, 4, 4), patches_per_case=3, cases_per_block=4, augmentation=Augmentation()
    )
    alone = take(PatchStream(Numbered(), sampling, seed=5), 10)
    assert same(take(PatchStream(Numbered(), sampling, seed=5, workers=workers), 10), alone)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generator_is_not_drawn_from(workers):
    state = torch.get_rng_state()
    take(PatchStream(Numbered(), SAMPLING, workers=workers), 3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("start", [1, 5, 6, 7, 13])
def test_it_can_be_entered_anywhere(start):
    stream = PatchStream(Numbered(), SAMPLING, seed=5)
    assert same(take(stream, 4, start=start), take(stream, start + 4)[start:])


def test_each_case_gives_its_patches_once_a_block():
    batches = take(PatchStream(Numbered(), SAMPLING), 12)
    numbers = torch.cat([batch.image[:, 0, 0, 0, 0] for batch in batches]).int().tolist()
    assert sorted(numbers) == sorted([*range(8)] * 3)
    assert sorted(numbers[:12]) == sorted([*range(4)] * 3)
    assert numbers[:12] != sorted(numbers[:12])
    tasks = torch.cat([batch.task[:, 0] for batch in batches]).tolist()
    assert tasks == [number % 7 for number in numbers]


def test_shapes_and_types():
    batch = take(PatchStream(Numbered(), SAMPLING), 1)[0]
    assert batch.image.shape == (2, 1, 4, 4, 4)
    assert batch.target.shape == (2, 2, 4, 4, 4)
    assert batch.labelled.tolist() == [[False, True]] * 2
    assert (batch.image.dtype, batch.target.dtype) == (torch.float32, torch.float32)
    assert (batch.labelled.dtype, batch.task.dtype) == (torch.bool, torch.int64)


def test_seeds_differ():
    first, second = (take(PatchStream(Numbered(), SAMPLING, seed=s), 6) for s in (0, 1))
    assert not same(first, second)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_source_arrives(workers):
    with pytest.raises(ValueError, match="case 2 is broken"):
        take(PatchStream(Numbered(fail_at=2), SAMPLING, workers=workers), 1)


def test_a_cycle_shows_every_case_once_a_round():
    cases = [Numbered()(i) for i in range(5)]
    cycle = Cycle(cases, seed=1)
    rounds = [[cycle(r * 5 + i).name for i in range(5)] for r in range(6)]
    assert all(sorted(names) == sorted(case.name for case in cases) for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1
