"""Parts of a folder, and what is left to do of it after a run that was killed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.errors import UserError
from mots_pretrained.files import write_json
from mots_pretrained.inference.cohort import check_sources
from mots_pretrained.inference.outputs import withdraw
from mots_pretrained.inference.resume import left_to_do, made_otherwise, part_of

SCANS = [CaseFiles(name, (Path(f"{name}.nii.gz"),)) for name in "abcdefg"]


def test_parts_are_disjoint_and_make_the_whole():
    parts = [part_of(SCANS, f"{k}/3") for k in (1, 2, 3)]
    assert [[s.name for s in part] for part in parts] == [["a", "d", "g"], ["b", "e"], ["c", "f"]]
    assert part_of(SCANS[:1], "2/2") == []
    for wrong in ("0/3", "4/3", "1", "1/0", "-1/3", "a/b", "1/3/4", "1/3\n"):
        with pytest.raises(UserError, match="a part is written as 2/8"):
            part_of(SCANS, wrong)


def finish(out: Path, name: str) -> None:
    (out / f"{name}_seg.nii.gz").touch()
    (out / f"{name}_overlay.png").touch()
    source = os.path.relpath(os.path.realpath(f"{name}.nii.gz"), os.path.realpath(out))
    made_by = {"model": "m", "flips": False}
    write_json(out / f"{name}_volumes.json", {"files": [source], **made_by})


def test_scans_whose_results_are_whole_are_left_out(tmp_path):
    for name in "abcd":
        finish(tmp_path, name)
    (tmp_path / "b_volumes.json").unlink()
    (tmp_path / "c_seg.nii.gz").unlink()
    write_json(tmp_path / "d_volumes.json", {"files": ["of/another.nii.gz"]})
    scans = SCANS[:5]
    assert [s.name for s in left_to_do(scans, tmp_path)] == ["b", "c", "d", "e"]
    (tmp_path / "a_overlay.png").unlink()
    assert [s.name for s in left_to_do(scans, tmp_path)] == ["a", "b", "c", "d", "e"]
    assert [s.name for s in left_to_do(scans, tmp_path, picture=False)] == ["b", "c", "d", "e"]
    assert left_to_do(SCANS[:1], tmp_path, picture=False, mask_names=["liver"]) == SCANS[:1]
    (tmp_path / "a_masks").mkdir()
    (tmp_path / "a_masks" / "liver.nii.gz").touch()
    assert left_to_do(SCANS[:1], tmp_path, picture=False, mask_names=["liver"]) == []
    assert left_to_do(SCANS[:1], tmp_path, picture=False, probabilities=True) == SCANS[:1]


def test_what_a_killed_run_left_half_written_of_them_goes(tmp_path):
    from mots_pretrained.files import _beside

    finish(tmp_path, "a")
    drafts = {}
    of_all = ("labels.json", "labels_itksnap.txt", "labels.ctbl", "failures.csv", "cohort.csv")
    for name in ("a_seg.nii.gz", "b_seg.nii.gz", "b_overlay.png", "other.nii.gz", *of_all):
        own = _beside(tmp_path / name)
        drafts[name] = own.with_name(own.name.replace(str(os.getpid()), "999999", 1))
        drafts[name].touch()
    left_to_do(SCANS[:2], tmp_path, shared=True)
    gone = {name for name, draft in drafts.items() if not draft.exists()}
    assert gone == {"b_seg.nii.gz", "b_overlay.png"}
    left_to_do(SCANS[:2], tmp_path)
    assert not any(drafts[name].exists() for name in of_all)
    assert drafts["other.nii.gz"].exists()


def test_a_scan_whose_file_has_changed_is_segmented_again(tmp_path):
    place = tmp_path / "in" / "a.nii.gz"
    place.parent.mkdir()
    place.write_bytes(b"one")
    scan = CaseFiles("a", (place,))
    finish(tmp_path, "a")
    told = {"files": ["in/a.nii.gz"]}
    write_json(tmp_path / "a_volumes.json", told)
    assert left_to_do([scan], tmp_path) == []  # of an earlier version, which told no state
    state = [[3, place.stat().st_mtime_ns]]
    write_json(tmp_path / "a_volumes.json", {**told, "state": state})
    assert left_to_do([scan], tmp_path) == []
    place.write_bytes(b"three")
    assert left_to_do([scan], tmp_path) == [scan]
    place.write_bytes(b"two")
    os.utime(place, ns=(0, state[0][1] + 1))
    assert left_to_do([scan], tmp_path) == [scan]


def test_results_of_another_model_or_made_otherwise_count_as_none(tmp_path):
    """A folder was completed by a second model without a word."""
    finish(tmp_path, "a")
    (tmp_path / "a_overlay.png").touch()

    def left(**made_by):
        return left_to_do(SCANS[:1], tmp_path, made_by=made_by)

    assert left(model="m", flips=False) == []
    assert left(model="other", flips=False) == SCANS[:1]
    assert left(model="m", flips=True) == SCANS[:1]
    assert left(model="m", flips=False, overlap=0.5) == SCANS[:1]  # of an older version


def test_a_scan_whose_file_has_vanished_is_left_to_do(tmp_path):
    """It ended the whole run with status 2, in place of a row in failures.csv."""
    files = [tmp_path / "in" / f"{name}.nii.gz" for name in "ab"]
    files[0].parent.mkdir()
    files[0].symlink_to(tmp_path / "gone.nii.gz")
    files[1].write_bytes(b"one")
    scans = [CaseFiles(name, (file,)) for name, file in zip("ab", files, strict=True)]
    for scan in scans:
        finish(tmp_path, scan.name)
        told = {"files": [os.path.relpath(os.path.realpath(scan.images[0]), tmp_path)]}
        state = [[3, files[1].stat().st_mtime_ns]]
        write_json(tmp_path / f"{scan.name}_volumes.json", {**told, "state": state})
    assert left_to_do(scans, tmp_path) == scans[:1]


def test_results_that_are_withdrawn_are_left_to_do_and_still_keep_others_off(tmp_path):
    finish(tmp_path, "a")
    assert left_to_do(SCANS[:1], tmp_path, made_by={}) == []
    withdraw(tmp_path, "a")
    assert left_to_do(SCANS[:1], tmp_path, made_by={}) == SCANS[:1]
    assert made_otherwise(SCANS[:1], tmp_path, {"model": "m"}) == []
    check_sources(SCANS[:1], tmp_path)
    other = [CaseFiles("a", (Path("other/a.nii.gz"),))]
    check_sources(other, tmp_path)  # for the file that has failed is gone
    (tmp_path / "a.nii").touch()
    write_json(tmp_path / "a_volumes.json", {"files": ["a.nii"], "withdrawn": True})
    with pytest.raises(UserError, match=r"another scan called a .*, or remove a_volumes\.json"):
        check_sources(other, tmp_path)


def test_results_of_another_run_are_not_vouched_for(tmp_path):
    """A run without masks left those of a run of other weights, which were taken as its own."""
    finish(tmp_path, "a")
    path = tmp_path / "a_volumes.json"
    own = ["a_seg.nii.gz", "a_overlay.png"]
    write_json(path, {**json.loads(path.read_text()), "results": own})
    for name in ("a_masks/liver.nii.gz", "a.seg.nrrd", "a_probabilities.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert left_to_do(SCANS[:1], tmp_path) == []
    assert left_to_do(SCANS[:1], tmp_path, mask_names=["liver"]) == SCANS[:1]
    assert left_to_do(SCANS[:1], tmp_path, formats=["nifti", "nrrd"]) == SCANS[:1]
    assert left_to_do(SCANS[:1], tmp_path, probabilities=True) == SCANS[:1]
    write_json(path, {**json.loads(path.read_text()), "results": own[:1]})
    assert left_to_do(SCANS[:1], tmp_path) == SCANS[:1]
    assert left_to_do(SCANS[:1], tmp_path, picture=False) == []
