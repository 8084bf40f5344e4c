"""Shapes and places of organs, beside what was measured in label maps and CTs of people."""

import numpy as np
import pytest
from scipy import ndimage

from mots_pretrained.phantom import Phantom, torso
from mots_pretrained.phantom.anatomy import Anatomy
from mots_pretrained.phantom.freedom import Freedom
from mots_pretrained.phantom.kidneys import draw_kidneys
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.solids import points_inside

_SPACING = (6.0, 4.0, 4.0)
_LIVER = ("liver", "hepatic_vessel", "liver_cyst")


@pytest.fixture(scope="module")
def scans() -> list[Phantom]:
    return [
        torso(seed, domain="spleen", spacing=_SPACING, lesions=(), phase="portal")
        for seed in range(10)
    ]


@pytest.fixture(scope="module")
def patients() -> list[Anatomy]:
    return [Anatomy(np.random.default_rng(seed), (), 0.0) for seed in range(24)]


def _mask(scan: Phantom, *names: str) -> np.ndarray:
    return np.isin(scan.labels, [LABEL[name] for name in names])


def _ends(scan: Phantom, axis: int, *names: str) -> np.ndarray:
    """Millimetres from the grid's start to an organ's low and high end."""
    where = np.flatnonzero(_mask(scan, *names).any(axis=tuple({0, 1, 2} - {axis})))
    return np.array([where[0], where[-1] + 1]) * scan.spacing[axis]


def _middle(scan: Phantom, *names: str) -> np.ndarray:
    return np.argwhere(_mask(scan, *names)).mean(axis=0) * scan.spacing


def _body(scan: Phantom) -> np.ndarray:
    pieces, _ = ndimage.label(scan.image > -250)
    return pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1


@pytest.mark.parametrize(
    ("names", "low", "high"),  # millilitres; real medians 1644, 212, 151, 157, 408 and 80
    [
        (_LIVER, 1300, 2100),
        (("spleen",), 140, 320),
        (("right_kidney", "kidney_cyst"), 115, 215),
        (("left_kidney", "kidney_cyst"), 115, 215),
        (("stomach",), 260, 620),
        (("pancreas",), 55, 115),
    ],
)
def test_volumes_lie_around_the_real_medians(scans, names, low, high):
    found = [_mask(scan, *names).sum() * np.prod(_SPACING) / 1000 for scan in scans]
    assert low < np.median([ml for ml in found if ml > 0]) < high


def test_organs_lie_as_far_above_and_below_the_liver_as_in_people(patients):
    rng = np.random.default_rng(0)
    away, tops = [], []
    for patient in patients:
        organs = patient.organs
        others = (*organs.kidneys.parenchyma, organs.spleen, organs.stomach, organs.pancreas)
        liver, *others = (
            points_inside(rng, solid, 400, 0.0)[:, 0] for solid in (organs.liver, *others)
        )
        away.append([points.mean() - liver.mean() for points in others])
        tops.append([points.max() - liver.max() for points in others])
    # Millimetres: right kidney, left kidney, spleen, stomach, pancreas.
    assert np.median(away, axis=0) == pytest.approx([-68, -59, 5, -2, -33], abs=15)
    assert np.median(tops, axis=0)[[0, 1, 4]] == pytest.approx([-88, -72, -72], abs=18)


def test_kidneys_tilt_and_turn_with_their_hilum_to_front_and_spine(patients):
    rng = np.random.default_rng(0)
    for side, sign, turn, back in ((0, -1, 42, 23), (1, 1, 26, 16)):
        turns, tilts, toward = [], [], []
        for patient in patients:
            kidneys = patient.organs.kidneys
            points = points_inside(rng, kidneys.parenchyma[side], 1500, 0.0)
            _, axes = np.linalg.eigh(np.cov(points.T))
            long, wide = axes[:, 2] * np.sign(axes[0, 2]), axes[:, 1] * np.sign(axes[2, 1] * sign)
            tilts.append(np.degrees(np.arctan2(long[1], long[0])))
            turns.append(np.degrees(np.arctan2(wide[1], sign * wide[2])))
            sinus = kidneys.sinuses[side]
            toward.append((sinus.low + sinus.high) / 2 - points.mean(axis=0))
        assert np.median(turns) == pytest.approx(turn, abs=15)  # lateral edge to the back
        assert np.median(tilts) == pytest.approx(back, abs=8)  # upper pole to the back
        hilum = np.median(toward, axis=0)
        assert hilum[1] < -1  # to the front
        assert hilum[2] * sign < -3  # to the spine


def test_both_kidneys_are_alike_in_size_and_go_with_the_liver(patients):
    sizes = np.array(
        [
            [np.prod(solid.high - solid.low) for solid in patient.organs.kidneys.parenchyma]
            for patient in patients
        ]
    )
    assert np.corrcoef(np.log(sizes.T))[0, 1] > 0.5


@pytest.mark.parametrize("name", ["liver", "stomach", "spleen", "right_kidney", "left_kidney"])
def test_an_organ_is_one_piece(scans, name):
    names = _LIVER if name == "liver" else (name,)
    whole = 0
    for scan in scans:
        pieces, count = ndimage.label(_mask(scan, *names))
        if count:
            sizes = np.sort(np.bincount(pieces.ravel())[1:])[::-1] * np.prod(_SPACING) / 1000
            assert sizes[0] > 0.93 * sizes.sum()
            whole += count == 1 or sizes[1] < 0.3
    assert whole >= 8  # of ten


def test_the_liver_lies_against_the_front_wall_with_no_lung_before_it(scans):
    for scan in scans:
        liver, lung, body = _mask(scan, *_LIVER), _mask(scan, "lung"), _body(scan)
        top = int(_ends(scan, 0, *_LIVER)[1] / _SPACING[0])
        plane = top - round(45 / _SPACING[0])  # the front recess lies 16 mm under the dome
        columns = np.flatnonzero(liver[plane].any(axis=0))
        first = liver[plane].argmax(axis=0)[columns]
        before = [lung[plane, :edge, x].any() for x, edge in zip(columns, first, strict=True)]
        assert np.mean(before) < 0.1
        skin = body[plane].argmax(axis=0)[columns]
        assert (first - skin).min() * _SPACING[1] < 60


def test_the_trunk_is_a_flat_oval_that_the_field_of_view_holds(scans):
    shares = []
    for scan in scans:
        body = _body(scan)
        rim = body[:, [0, -1]].any() or body[:, :, [0, -1]].any()
        plane = int(_middle(scan, "right_kidney", "left_kidney")[0] / _SPACING[0])
        wide, deep = (np.ptp(np.flatnonzero(body[plane].any(axis=axis))) for axis in (0, 1))
        shares.append((wide / deep, rim))
    ratios, rims = zip(*shares, strict=True)
    assert 1.2 < np.median(ratios) < 1.55  # real 1.32
    assert sum(rims) <= 1  # arms may leave the field


def test_some_people_lack_a_kidney_or_have_accessory_spleens(patients):
    free, body = Freedom(np.random.default_rng(0), 1.0, 0.0), patients[0].body
    present = [draw_kidneys(free, body, 1.0, 0.0).present for _ in range(400)]
    assert 2 <= present.count((True, False)) + present.count((False, True)) <= 16
    assert (False, False) not in present
    assert 1 <= sum(bool(patient.organs.accessory) for patient in patients) <= 9
