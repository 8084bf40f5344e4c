"""The stream: the same for any number of workers, from any point, with every patch in its turn."""

import itertools
from dataclasses import dataclass, replace
from multiprocessing import active_children

import numpy as np
import pytest
import torch

from mots_pretrained.data.augment import Augmentation
from mots_pretrained.data.case import Case
from mots_pretrained.data.stream import Cycle, PatchStream, Sampling, draw_patch, swap_sides
from mots_pretrained.tasks import IGNORED

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


@pytest.mark.parametrize(("start", "count"), [(0, 2), (5, 3)])
def test_processes_share_it(start, count):
    stream = PatchStream(Numbered(), SAMPLING, seed=5)
    whole = take(stream, start + 4 * count)[start:]
    for rank in range(count):
        mine = itertools.islice(stream.batches(2, start=start + rank, stride=count), 4)
        assert same(list(mine), whole[rank::count])


def test_a_process_makes_only_the_cases_of_its_share():
    made = []

    def source(index):
        made.append(index)
        return Numbered()(index)

    sampling = Sampling((4, 4, 4), patches_per_case=1, cases_per_block=8)
    batches = PatchStream(source, sampling).batches(1, start=1, stride=2)
    seen = [next(batches).image[0, 0, 0, 0, 0].item() for _ in range(8)]
    assert sorted(seen) == sorted(made)
    assert len({*made}) == 8


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
    assert (batch.image.dtype, batch.target.dtype) == (torch.float32, torch.uint8)
    assert (batch.labelled.dtype, batch.task.dtype) == (torch.bool, torch.int64)


def test_seeds_differ():
    first, second = (take(PatchStream(Numbered(), SAMPLING, seed=s), 6) for s in (0, 1))
    assert not same(first, second)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_source_arrives(workers):
    with pytest.raises(ValueError, match="case 2 is broken"):
        take(PatchStream(Numbered(fail_at=2), SAMPLING, workers=workers), 1)
    assert active_children() == []  # else they end when the error is collected, after 5 s each


def test_a_cycle_shows_every_case_once_a_round():
    cases = [Numbered()(i) for i in range(5)]
    cycle = Cycle(cases, seed=1)
    rounds = [[cycle(r * 5 + i).name for i in range(5)] for r in range(6)]
    assert all(sorted(names) == sorted(case.name for case in cases) for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1


MIRRORED = Augmentation(
    scale=(0, (1, 1)), mirror=(2,), noise=(0, 0), blur=(0, (1, 1)), brightness=(0, (1, 1)),
    shift=(0, 0), contrast=(0, (1, 1)), low_resolution=(0, (1, 1)), gamma=(0, (1, 1)),
)  # fmt: skip


def patches_of(case, sides, size):
    sampling = Sampling(size, augmentation=MIRRORED, sides=sides)
    return [draw_patch(case, sampling, np.random.default_rng(seed)) for seed in range(8)]


def test_mirroring_moves_image_and_target_and_swaps_the_sides():
    """Two kidneys: bright on the patient's right (low width), dark on the left; the spleen left."""
    image = np.zeros((1, 2, 2, 4), np.float32)
    image[..., 0], image[..., 3] = 1, -1
    values = np.zeros((1, 2, 2, 4), np.uint8)
    values[..., 0], values[..., 3], values[:, 0, 0, 3] = 2, 1, 3  # right_kidney, left_kidney
    channels = np.concatenate([values == value for value in (1, 2, 3)]).astype(np.uint8)
    order = (1, 0, 2)  # of left_kidney, right_kidney, spleen
    for target, right, left in ((values, 2, 1), (channels, None, None)):
        seen = set()
        for picture, labels, *_ in patches_of(Case(image, target, (True,) * 3), order, (2, 2, 4)):
            flipped = bool(picture[0, 0, 0, 0] < 0)
            seen.add(flipped)
            right_kidney = labels[0] == right if right else labels[1] == 1
            left_kidney = labels[0] == left if left else labels[0] == 1
            spleen = labels[0] == 3 if right else labels[2] == 1
            # What lies on the right now is the right kidney, whichever it was.
            assert right_kidney.nonzero()[2].tolist() == [0] * (3 if flipped else 4)
            assert {*left_kidney.nonzero()[2].tolist()} == {3}
            assert {*spleen.nonzero()[2].tolist()} == {0 if flipped else 3}
        assert seen == {True, False}


def test_a_mirrored_patch_of_one_sides_task_is_of_the_others():
    case = Case(np.arange(4, dtype=np.float32).reshape(1, 1, 1, 4), np.ones((2, 1, 1, 4), np.uint8),
                (True, True), (2,))  # fmt: skip
    for picture, _, _, tasks in patches_of(case, (2, 1, 0), (1, 1, 4)):
        assert tasks == ((2,) if picture[0, 0, 0, 0] == 0 else (0,))


def test_values_to_ignore_and_flags_move_along():
    target = np.array([0, 1, 2, 255], np.uint8).reshape(1, 1, 1, 4)
    swapped, *_ = swap_sides(target, (True,), (), order=(1, 0))
    assert swapped.ravel().tolist() == [0, 2, 1, 255]
    _, labelled, _ = swap_sides(np.zeros((2, 1, 1, 1), np.uint8), (True, False), (), order=(1, 0))
    assert labelled == (False, True)


def test_a_border_hides_what_lies_beyond_the_patch():
    """The published way: a patch that shows more than itself sees zeros; ours reads on."""
    case = Case(np.full((1, 8, 30, 30), 5, np.float32), np.ones((1, 8, 30, 30), np.uint8))
    case.foreground[0][:] = np.ravel_multi_index((4, 15, 15), case.shape)
    wide = replace(MIRRORED, mirror=(), scale=(1, (1.25, 1.25)))
    for settings, seen in ((wide, True), (replace(wide, border=0.0), False)):
        sampling = Sampling((8, 8, 8), augmentation=settings, foreground=1.0)
        picture, target, *_ = draw_patch(case, sampling, np.random.default_rng(2))
        middle = (0, 4)
        assert (picture[middle] == 5).all() == (target[middle] == 1).all() == seen
        assert (target[0, 0] == IGNORED).all()  # beyond the scan's ends nothing is known
        assert {*np.unique(target)} == {1, IGNORED}
