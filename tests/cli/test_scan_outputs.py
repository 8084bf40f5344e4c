"""Formats get their names, what is not ours is kept, and what is there is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mots_pretrained.cli import console
from mots_pretrained.cli.scan_outputs import ScanOutputs, formats_named
from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.errors import UserError


def scan(folder: Path, name: str = "a") -> CaseFiles:
    (folder / f"{name}.nii.gz").touch()
    return CaseFiles(name, (folder / f"{name}.nii.gz",))


def test_formats_are_listed_and_nifti_is_named_as_asked(tmp_path):
    scans, out = [scan(tmp_path)], str(tmp_path / "out")
    assert formats_named("nifti, nrrd,", "seg", "", scans, out) == ("nifti", "nrrd")
    assert formats_named("nifti,nrrd", "nnunet", "", scans, out) == ("nnunet", "nrrd")
    with pytest.raises(UserError, match="unknown naming 'bids'; allowed are seg, nnunet"):
        formats_named("nifti", "bids", "", scans, out)


def test_scans_and_their_truth_are_not_written_over(tmp_path):
    scans, out = [scan(tmp_path)], str(tmp_path)
    assert formats_named("nifti", "seg", "", scans, out) == ("nifti",)
    for naming, submission in (("nnunet", ""), ("seg", "bcv")):
        with pytest.raises(UserError, match="would lie over them"):
            formats_named("nifti", naming, submission, scans, out)
    (tmp_path / "a_seg.nii.gz").touch()
    with pytest.raises(UserError, match=r"a_seg\.nii\.gz lies beside the scan and was not written"):
        formats_named("nifti", "seg", "", scans, out)
    assert formats_named("nrrd", "seg", "", scans, out) == ("nrrd",)


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_results_of_another_precision_are_done_again(tmp_path, capsys, asked):
    scans, out = [scan(tmp_path), scan(tmp_path, "b")], tmp_path / "out"
    out.mkdir()
    (out / "a_seg.nii.gz").touch()
    made = {"model": "m", "precision": "float32"}
    (out / "a_volumes.json").write_text(json.dumps({"files": ["../a.nii.gz"], **made}))
    outputs = ScanOutputs(str(out), picture=False)
    made_by = {"model": "m", "precision": asked}
    console.set_level()  # whatever a test before has left
    left, skipped = outputs.lacking(scans, ["liver"], made_by=made_by, shared=False)
    same = asked == "float32"
    assert [one.name for one in left] == (["b"] if same else ["a", "b"])
    assert skipped == ["a"] * same
    said = capsys.readouterr()
    assert ("1 of 2 scans have their results already" in said.out + said.err) == same
    with_masks = ScanOutputs(str(out), picture=False, masks=True)
    assert with_masks.lacking(scans, ["liver"], made_by=made, shared=False)[0] == scans
