"""One case checked: whatever is wrong with it becomes a finding, and nothing is raised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mots_pretrained.check.anatomy import AXES
from mots_pretrained.check.case import check_case
from mots_pretrained.data.layouts import CaseFiles
from mots_pretrained.images.content_hash import content_hash
from mots_pretrained.images.nifti import write_nifti
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.tasks import task_named

SPACING = (8.0, 6.0, 6.0)
SPLEEN = np.s_[10:17, 17:24, 27:34]  # behind, on the patient's left


def person() -> np.ndarray:
    """A body of 40 HU in air, with a spleen of 110."""
    scan = np.full((24, 30, 40), -1000, np.int16)
    scan[:, 4:26, 3:37] = 40
    scan[SPLEEN] = 110
    return scan


def labels(value: int = 1) -> np.ndarray:
    marks = np.zeros((24, 30, 40), np.uint8)
    marks[SPLEEN] = value
    return marks


def case(folder: Path, scan: np.ndarray, marks: np.ndarray, *, spacing=SPACING, moved=0.0):
    volume = Volume.with_spacing(scan, spacing)
    write_like(folder / "ct.nii", scan, volume, dtype=np.int16)
    affine = volume.affine.copy()
    affine[0, 3] += moved
    write_like(folder / "seg.nii", marks, Volume(marks, affine))
    return CaseFiles("a", (folder / "ct.nii",), folder / "seg.nii")


def checked(files: CaseFiles, task: str = "spleen", **options):
    return check_case(files, task_named(task), "somewhere", **options)


def told(check) -> list[tuple[str, bool]]:
    return [(finding.kind, finding.problem) for finding in check.findings]


def test_a_sound_case_is_described_without_findings(tmp_path):
    found = checked(case(tmp_path, person(), labels()))
    assert found.findings == ()
    assert (found.identifier, found.collection) == ("a", "somewhere")
    assert (found.shape, found.range, found.voxels) == ((24, 30, 40), (-1000, 110), {"spleen": 343})
    assert found.spacing == pytest.approx(SPACING)
    assert found.tissue == pytest.approx(40)
    assert found.content == content_hash(Volume.with_spacing(person(), SPACING))
    assert (found.verdicts[AXES[1]], found.verdicts[AXES[2]]) == ("upright", "upright")
    assert found.picture is None


def test_a_case_seen_in_a_mirror_has_flipped_verdicts(tmp_path):
    found = checked(case(tmp_path, person()[:, :, ::-1], labels()[:, :, ::-1]))
    assert (found.verdicts[AXES[1]], found.verdicts[AXES[2]]) == ("upright", "flipped")


def test_the_picture_is_drawn_of_the_tumour_over_its_organ(tmp_path):
    seen = []

    def draw(volume, marks, values):
        seen.append((volume.shape, marks, values))
        return b"jpeg"

    marks = labels()
    marks[12, 20, 30] = 2
    found = checked(case(tmp_path, person(), marks), "liver", picture=draw)
    assert found.picture == b"jpeg"
    ((shape, drawn, values),) = seen
    assert (shape, values) == ((24, 30, 40), {"liver": 1, "liver_tumour": 2})
    np.testing.assert_array_equal(drawn, marks)


@pytest.mark.parametrize(
    ("marks", "text"),
    [
        (labels(3), "label values 3 (343 voxels) mean nothing in task spleen; known are [0, 1]"),
        (labels(0), "the label map is empty: no spleen"),
    ],
)
def test_labels_that_mean_nothing_or_are_none_are_problems(tmp_path, marks, text):
    found = checked(case(tmp_path, person(), marks))
    assert ("labels", True) in told(found)
    assert text in [finding.text for finding in found.findings]


def test_a_tumour_without_the_organ_of_its_task_is_a_problem(tmp_path):
    found = checked(case(tmp_path, person(), labels(2)), "hepatic_vessel")
    assert "the label map has no hepatic_vessel" in [one.text for one in found.findings]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"marks": labels()[:-1]},
            "the label map has (23, 30, 40) voxels (D, H, W), the scan",
        ),
        ({"moved": 3.0}, "the label map lies up to 0.5 voxels beside the scan by their headers"),
    ],
)
def test_another_grid_is_a_problem_and_nothing_is_drawn_on_it(tmp_path, change, text):
    files = case(tmp_path, **{"scan": person(), "marks": labels(), **change})
    found = checked(files, picture=lambda *_: b"never")
    assert told(found) == [("grid", True)]
    assert found.findings[0].text.startswith(text)
    assert found.findings[0].text.endswith("; bring the labels to the scan's grid")
    assert found.picture is None


def test_a_spacing_of_no_patient_is_a_problem(tmp_path):
    found = checked(case(tmp_path, person(), labels(), spacing=(8.0, 0.6, 0.6)))
    (one,) = [finding for finding in found.findings if finding.kind == "spacing"]
    assert "measures 192 x 18 x 24 mm at 8 x 0.6 x 0.6 mm: no patient is so" in one.text


@pytest.mark.parametrize(
    ("scan", "text"),
    [
        (person() + np.int16(1024), "no body stands out from air"),
        (np.where(person() > 0, 700, -1000).astype(np.int16), "the body has a median of 700"),
        (np.where(labels() > 0, -90, person()).astype(np.int16),
         "the spleen has a median of -90 HU; expected are 0 to 300: do label map and scan belong"),
    ],
)  # fmt: skip
def test_values_that_are_no_ct_numbers_of_the_organ_are_problems(tmp_path, scan, text):
    found = checked(case(tmp_path, scan, labels()))
    assert any(text in finding.text for finding in found.findings if finding.kind == "intensity")


def test_files_that_cannot_be_read_are_a_finding_and_no_more(tmp_path):
    sound = case(tmp_path, person(), labels())
    short = tmp_path / "short.nii"
    short.write_bytes(sound.images[0].read_bytes()[:-100])
    two = tmp_path / "two.nii"
    pair = np.stack([person(), person()])
    write_like(two, pair, Volume.with_spacing(pair, SPACING), dtype=np.int16)
    for files, text in (
        (CaseFiles("a", sound.images), "a has no label map"),
        (CaseFiles("a", (tmp_path / "none.nii",), sound.label), "no such file"),
        (CaseFiles("a", (short,), sound.label), "is truncated"),
        (CaseFiles("a", (two,), sound.label), "has several channels; one is read"),
    ):
        found = checked(files)
        assert told(found) == [("file", True)]
        assert text in found.findings[0].text
        assert (found.shape, found.content) == (None, None)


def test_what_reading_warns_of_is_worth_a_look(tmp_path):
    sound = case(tmp_path, person(), labels())
    affine = np.diag([-6.0, -6.0, 8.0, 1.0])
    affine[1, 2] = 2.0  # each slice lies two millimetres further to the back
    for path, array in ((sound.images[0], person()), (sound.label, labels())):
        write_nifti(path, np.ascontiguousarray(array.T), affine)
    found = checked(sound)
    looks = [finding for finding in found.findings if not finding.problem]
    assert {finding.kind for finding in looks} == {"file"}
    assert "tilted by 14.0 degrees" in looks[0].text
