import numpy as np
import pytest

from mots_pretrained.phantom import BrainPhantom, brain
from mots_pretrained.tasks import BRATS_MODALITIES

_SHAPE = (52, 80, 80)
_T1, _T1CE, _T2, _FLAIR = range(4)


@pytest.fixture(scope="module")
def heads() -> list[BrainPhantom]:
    return [brain(seed, grade=grade, shape=_SHAPE) for seed in range(2) for grade in ("HGG", "LGG")]


def test_four_skull_stripped_channels(heads):
    for head in heads:
        assert head.images.shape == (len(BRATS_MODALITIES), *_SHAPE)
        assert head.images.dtype == np.float32
        inside = head.images[0] > 0
        for channel in head.images:
            assert ((channel > 0) == inside).all()
            assert (channel[~inside] == 0).all()
        litres = inside.sum() * np.prod(head.spacing) / 1e6
        assert 1.1 < litres < 2.4


def test_brats_values_only_and_inside_the_brain(heads):
    for head in heads:
        assert set(np.unique(head.labels)) <= {0, 1, 2, 4}
        assert (head.labels > 0).any()
        assert (head.images[0][head.labels > 0] > 0).all()


def test_contrasts_of_the_four_sequences(heads):
    for head in heads:
        oedema = head.labels == 2
        healthy = (head.images[0] > 0) & (head.labels == 0)
        for channel in (_T2, _FLAIR):
            image = head.images[channel]
            assert np.median(image[oedema]) > 1.1 * np.median(image[healthy])
        assert np.median(head.images[_T1][oedema]) < np.median(head.images[_T1][healthy])


def test_high_grade_enhances_with_contrast_agent_only(heads):
    for head in heads:
        if head.grade == "HGG":
            rim = head.labels == 4
            assert rim.sum() > 20
            for channel, factor in ((_T1CE, 1.15),):
                image = head.images[channel]
                healthy = (image > 0) & (head.labels == 0)
                assert np.median(image[rim]) > factor * np.median(image[healthy])
            t1 = head.images[_T1]
            assert np.median(t1[rim]) < np.median(t1[(t1 > 0) & (head.labels == 0)])


def test_low_grade_hardly_enhances(heads):
    share = {"HGG": [], "LGG": []}
    for head in heads:
        core = np.isin(head.labels, (1, 4)).sum()
        share[head.grade].append((head.labels == 4).sum() / core)
    assert max(share["LGG"]) < min(share["HGG"])


def test_same_seed_same_bytes(heads):
    again = brain(0, grade="HGG", shape=_SHAPE)
    assert again.images.tobytes() == heads[0].images.tobytes()
    assert again.labels.tobytes() == heads[0].labels.tobytes()
    assert again.images.tobytes() != heads[2].images.tobytes()


def test_grade_comes_by_chance_without_a_wish():
    assert {brain(seed, shape=(16, 16, 16)).grade for seed in range(12)} == {"HGG", "LGG"}


def test_impossible_wishes_are_told():
    with pytest.raises(KeyError, match="unknown grade 'MGG'"):
        brain(0, grade="MGG")
    with pytest.raises(ValueError, match="at least 16"):
        brain(0, shape=(8, 64, 64))


@pytest.mark.long
def test_brats_own_grid():
    head = brain(1)
    assert head.labels.shape == (155, 240, 240)
    assert head.spacing == (1.0, 1.0, 1.0)
    inside = np.argwhere(head.images[0] > 0)
    assert (inside.min(axis=0)[1:] > 0).all()  # the stem may leave the grid below
    assert (inside.max(axis=0) < np.array(head.labels.shape) - 1).all()
