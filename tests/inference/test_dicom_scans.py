"""Trees, folders and zips of DICOM series as scans, and `mots predict` over them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_series import CORONAL, voxels, write_series

from mots_pretrained.cli import main
from mots_pretrained.data.layouts.collection import CaseFiles
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.images.reading import read_labels, read_volume
from mots_pretrained.inference.cohort import Settled, find_scans
from mots_pretrained.inference.dicom_scans import (
    dicom_scans,
    listed_as,
    may_be_dicom,
    state_of,
)
from mots_pretrained.inference.failures import Failure
from mots_pretrained.inference.predictor import Predictor


def tree(root: Path) -> Path:
    """Two patients: one with two series in one folder and a localizer, one with a zip."""
    first = root / "P1" / "study"
    for number, name in ((2, "arterial"), (3, "portal")):
        write_series(first, voxels(seed=number), SeriesNumber=number, SeriesDescription=name,
                     StudyInstanceUID="1.2", names=lambda k, name=name: f"{name}{k}")  # fmt: skip
    write_series(first, voxels((1, 9, 9)), orientation=CORONAL, names=lambda k: "scout")
    write_series(root / "P2" / "mr", voxels(), Modality="MR")
    write_series(root / "P2" / "ct", voxels(seed=4))
    with zipfile.ZipFile(root / "P2" / "late.zip", "w") as archive:
        for file in write_series(root / "tmp", voxels(seed=5)):
            archive.write(file, file.name)
    shutil.rmtree(root / "tmp")
    return root


def test_every_ct_series_of_a_tree_is_a_scan(tmp_path: Path) -> None:
    root = tree(tmp_path / "in")
    scans = find_scans([root], 1)
    assert [scan.name for scan in scans] == [
        "P1_study_2_arterial", "P1_study_3_portal", "P2_ct", "P2_late",
    ]  # fmt: skip
    for scan, seed in zip(scans, (2, 3, 4, 5), strict=True):
        volume = read_volume(scan.images[0], series=scan.series)
        np.testing.assert_array_equal(volume.array, voxels(seed=seed))
    left_out = r"2 of 3 studies have no series 'portal' and are left out: .*ct \(Abdomen\), "
    with pytest.warns(UserWarning, match=left_out):
        assert [scan.name for scan in find_scans([root], 1, series="portal")] == ["P1_study"]
    with pytest.raises(UnknownNameError, match=r"has no series 'late'; there are: .*portal"):
        find_scans([root], 1, series="late")


def studies(root: Path) -> Path:
    """Series of five studies of several names; one has its two series in two folders."""
    for folder, study, number, name in (
        ("p1", 1, 3, "Portal"),
        ("p1", 1, 4, "Portal late"),
        ("p2", 2, 3, "Abdomen portal venous"),
        ("p3", 3, 7, "PORTAL"),
        ("p4/native", 4, 2, "Native 3 mm"),
        ("p4/portal", 4, 3, "Portal, thin"),
        ("p5", 5, 1, "Native"),
    ):
        write_series(root / folder, voxels((3, 4, 5), number), entropy=folder + name,
                     SeriesNumber=number, SeriesDescription=name, StudyInstanceUID=f"1.{study}",
                     names=lambda k, number=number: f"{number}{k}")  # fmt: skip
    return root


def as_zips(root: Path, out: Path) -> Path:
    """The same, a zip each folder."""
    for folder in dict.fromkeys(file.parent for file in sorted(root.rglob("*")) if file.is_file()):
        path = out / folder.relative_to(root).with_suffix(".zip")
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.glob("*")):
                archive.write(file, file.name)
    return out


@pytest.mark.parametrize("kind", ["folders", "zips", "both"])
@pytest.mark.parametrize(
    ("wanted", "names", "left_out"),
    [
        ("portal", "p1 p2 p3 p4_portal", r"1 of 5 studies have .*p5(\.zip)? \(Native\)$"),
        ("3", "p1 p2 p4_portal", r"2 of 5 studies have no series '3' .*p3(.zip)? .*, \S*p5"),
        ("native", "p4_native p5", r"3 of 5 .*p1(.zip)? \(Portal, Portal late\), \S*p2.*, \S*p3"),
        ("thin", "p4_portal", r"4 of 5 studies have .*p1.* \S*p2.* \S*p3.* and 1 more$"),
        ("1.3 PORTAL", "", ""),
    ],
)
def test_a_series_is_looked_for_in_every_study(
    tmp_path: Path, kind: str, wanted: str, names: str, left_out: str
) -> None:
    """One study's exact match hid all others; zips, looked at one by one, gave other scans."""
    root = studies(tmp_path / "in")
    if kind != "folders":
        zips = as_zips(root, tmp_path / "zips")
        for folder in ("p1", "p4/native") if kind == "both" else ():
            (zips / folder).with_suffix(".zip").unlink()
            shutil.copytree(root / folder, zips / folder)
        root = zips
    if not names:
        with pytest.raises(UnknownNameError, match=r'no series .*there are: 3: "Portal".*"Native"'):
            find_scans([root], 1, series=wanted)
        return
    with pytest.warns(UserWarning, match=left_out) as told:
        scans = find_scans([root], 1, series=wanted)
    assert len(told) == 1
    assert [scan.name for scan in scans] == names.split()


def test_a_series_that_every_study_has_is_taken_without_a_word(tmp_path: Path) -> None:
    root = studies(tmp_path / "in")
    shutil.rmtree(root / "p5")
    write_series(root / "mr", voxels(), Modality="MR", SeriesDescription="T2")  # never a scan here
    assert len(find_scans([root], 1, series="portal")) == 4


@pytest.mark.parametrize("zipped", [False, True])
def test_where_there_is_ct_no_other_volume_is_a_scan(tmp_path: Path, zipped: bool) -> None:
    """An MR series was none in a folder, but one in a zip."""
    write_series(tmp_path / "in" / "ct", voxels())
    write_series(tmp_path / "in" / "mr", voxels(), Modality="MR")
    root = as_zips(tmp_path / "in", tmp_path / "zips") if zipped else tmp_path / "in"
    assert [scan.name for scan in find_scans([root], 1)] == ["ct"]
    shutil.rmtree(root / "ct") if not zipped else (root / "ct.zip").unlink()
    assert [scan.name for scan in find_scans([root], 1)] == ["mr"]


def test_a_series_own_folder_and_a_zip_are_one_scan(tmp_path: Path) -> None:
    root = tree(tmp_path / "in")
    for place, name in ((root / "P2" / "ct", "ct"), (root / "P2" / "late.zip", "late")):
        assert may_be_dicom(place)
        (scan,) = dicom_scans(place)
        assert (scan.name, scan.images) == (name, (place,))
    several = r'choose one with --series .*: 2: "arterial" .*; 3: "portal'
    with pytest.raises(UserError, match=several):
        dicom_scans(root / "P1" / "study")
    assert dicom_scans(root / "P1" / "study", "3")[0].series.label == "portal"


def test_names_never_meet(tmp_path: Path) -> None:
    for number in (1, 2):
        write_series(tmp_path / "a", voxels(), SeriesNumber=1, SeriesDescription="../x",
                     names=lambda k, number=number: f"{number}{k}")  # fmt: skip
    write_series(tmp_path / "b" / "c", voxels())
    write_series(tmp_path / "b_c", voxels())
    names = [scan.name for scan in dicom_scans(tmp_path)]
    assert len(set(names)) == 4
    assert not any("/" in name for name in names)


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (("Patient 1", "Patient_1"), ["Patient_1", "Patient_1_2"]),
        (("patient 1", "Patient_1"), ["Patient_1", "patient_1_2"]),
        (("a/b", "a_b", "a_b_2"), ["a_b", "a_b_2", "a_b_2_2"]),
    ],
)
def test_names_never_meet_once_blanks_are_replaced(
    tmp_path: Path, folders: tuple[str, ...], names: list[str]
) -> None:
    """One patient's results replaced those of another, with status 0."""
    for folder in folders:
        write_series(tmp_path / folder, voxels())
    scans = find_scans([tmp_path], 1)
    assert [scan.name for scan in scans] == names
    assert {scan.images[0] for scan in scans} == {tmp_path / folder for folder in folders}


def test_scans_of_one_name_are_refused_in_dicom_too(tmp_path: Path, monkeypatch) -> None:
    series = [CaseFiles(name, (tmp_path / name,)) for name in ("a", "A")]
    monkeypatch.setattr("mots_pretrained.inference.cohort.dicom_scans", lambda *_: series)
    write_series(tmp_path / "a", voxels())
    with pytest.raises(UserError, match="holds a and A, whose results would be one file"):
        find_scans([tmp_path], 1)


def zip_of(path: Path, *seeds: int) -> Path:
    """A zip of a series a seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for seed in seeds:
            for file in write_series(path.parent / "made", body(), spacing=(8.0, 8.0), step=8,
                                     SeriesNumber=seed, SeriesDescription="x"):  # fmt: skip
                archive.write(file, f"{seed}/{file.name}")
    shutil.rmtree(path.parent / "made")
    return path


def test_zips_are_found_whatever_their_case_and_hidden_files_are_none(tmp_path: Path) -> None:
    """STUDY1.ZIP was left out without a word, and what macOS leaves beside a zip was a scan."""
    zip_of(tmp_path / "one.zip", 1)
    zip_of(tmp_path / "below" / "TWO.ZIP", 2)
    for name in ("._one.zip", ".hidden/three.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\26\7 no zip")
    assert [scan.name for scan in find_scans([tmp_path], 1)] == ["below_TWO", "one"]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "._one.zip").write_bytes(b"no zip")
    assert not may_be_dicom(tmp_path / "only")
    (tmp_path / "only" / "A.SEG.NRRD").touch()  # a label map beside the scans
    zip_of(tmp_path / "only" / "one.zip", 1)
    assert may_be_dicom(tmp_path / "only")


def test_a_broken_zip_is_listed_until_it_is_mended(tmp_path: Path) -> None:
    """It was listed by its file and mended under its name, so that its row stayed."""
    (tmp_path / "in" / "P 1").mkdir(parents=True)
    broken = [tmp_path / "in" / name for name in ("P 1/study.zip", "study.zip", "several.zip")]
    for path in broken:
        path.write_bytes(b"PK broken")
    out = tmp_path / "out"

    def run() -> list[str]:
        settled = Settled(out)
        for scan in find_scans([tmp_path / "in"], 1):
            if scan.series is None:
                settled.fail(scan, Failure(listed_as(scan), "UserError", "no sound zip"))
            else:
                settled.done(scan, {"scan": scan.name})
        if not (out / "failures.csv").is_file():
            return []
        with open(out / "failures.csv", encoding="utf-8") as file:
            return [row["file"] for row in csv.DictReader(file)]

    assert run() == ["P_1_study", "several", "study"]
    zip_of(broken[1], 1)
    assert run() == ["P_1_study", "several"]
    zip_of(broken[2], 1, 2)
    assert run() == ["P_1_study"]
    zip_of(broken[0], 1)
    assert run() == []


def test_the_state_of_a_series_is_that_of_its_own_files(tmp_path: Path) -> None:
    """Results within the folder changed it, and files rewritten in sub-folders did not."""
    one = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3"}
    first = write_series(tmp_path / "p1" / "a", voxels(), **one)
    write_series(tmp_path / "p1" / "b", voxels(), origin=(-10, 20, -12), **one)
    (scan,) = find_scans([tmp_path / "p1"], 1)
    channels = CaseFiles("channels", (tmp_path / "p1", tmp_path / "p1"))  # a series a channel
    before = state_of(scan)
    assert before[0][0] == sum(file.stat().st_size for file in (tmp_path / "p1").glob("*/*"))
    assert state_of(channels) == before * 2
    (tmp_path / "p1" / "out").mkdir()
    (tmp_path / "p1" / "out" / "p1_volumes.json").write_text("{}")
    (tmp_path / "p1" / "notes.txt").write_text("x")
    assert state_of(scan) == before
    assert state_of(channels) == before * 2
    os.utime(first[2], ns=(0, before[0][1] + 1))  # rewritten in place
    assert state_of(scan) == ((before[0][0], before[0][1] + 1),)
    first[2].unlink()
    with pytest.raises(FileNotFoundError):
        state_of(scan)


def test_series_are_chosen_among_dicom_only(tmp_path: Path) -> None:
    from mots_pretrained.images.volume import Volume, write_like

    scan = Volume.with_spacing(np.zeros((3, 4, 5), np.int16), (3, 2, 1))
    write_like(tmp_path / "ct.nii.gz", scan.array, scan)
    with pytest.raises(UserError, match="is no DICOM; --series chooses among DICOM series only"):
        find_scans([tmp_path / "ct.nii.gz"], 1, series="2")
    assert not may_be_dicom(tmp_path)


def body(shape: tuple[int, int, int] = (12, 32, 32)) -> np.ndarray:
    array = np.full(shape, -1000, np.int16)
    array[:, 6:26, 6:26] = 50
    return array


def test_predict_over_a_tree_names_what_fails_and_goes_on(tmp_path: Path, capsys) -> None:
    root = tmp_path / "in"
    spacing = (8.0, 8.0)
    write_series(root / "good", body(), spacing=spacing, step=8)
    bad = write_series(root / "bad", body(), spacing=spacing, step=8)
    bad[3].write_bytes(bad[3].read_bytes()[:-100])
    (root / "broken.zip").write_bytes(b"PK\3\4 no zip")
    out = tmp_path / "out"
    words = ["predict", "-i", str(root), "-o", str(out), "--tasks", "liver", "--json"]
    assert main([*words, "--format", "nrrd,dicom-seg,rtstruct"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert [scan["scan"] for scan in report["scans"]] == ["good"]
    with open(out / "cohort.csv", encoding="utf-8") as file:
        assert {row["series"] for row in csv.DictReader(file)} == {report["scans"][0]["series"]}
    assert {Path(path).name for path in report["scans"][0]["segmentations"].values()} == {
        "good.seg.nrrd", "good_seg.dcm", "good_rtstruct.dcm",
    }  # fmt: skip
    with open(out / "failures.csv", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"bad", "broken"}
    assert "003.dcm" in rows["bad"]["reason"]
    assert not list(out.glob("bad*"))
    assert read_labels(out / "good.seg.nrrd").shape == (12, 32, 32)


def test_predict_refuses_dicom_results_of_a_nifti_scan_at_once(tmp_path: Path, capsys) -> None:
    from mots_pretrained.images.volume import Volume, write_like

    scan = Volume.with_spacing(body(), (8, 8, 8))
    write_like(tmp_path / "ct.nii.gz", scan.array, scan, dtype=np.int16)
    words = ["predict", "-i", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "out")]
    assert main([*words, "--format", "rtstruct"]) == 2
    assert "refers to a DICOM series, and this input is none" in capsys.readouterr().err
    assert main([*words, "--format", "obj"]) == 2
    assert "unknown format 'obj'; allowed are nifti, nrrd" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_dicom_results_that_cannot_be_are_refused_before_the_network_runs(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    """A series without UIDs was segmented, and then failed for want of them."""
    ran = []
    segment = Predictor.segment

    def noted(predictor, scan, *given, **options):
        ran.append(scan.name)
        return segment(predictor, scan, *given, **options)

    monkeypatch.setattr(Predictor, "segment", noted)
    for name in ("bad", "good"):
        for path in write_series(tmp_path / "in" / name, body(), spacing=(8.0, 8.0), step=8):
            ds = pydicom.dcmread(path)
            if name == "bad":
                del ds.SOPInstanceUID
            ds.save_as(path)
    out = tmp_path / "out"
    words = ["predict", "-o", str(out), "--tasks", "liver", "--format", "nifti,rtstruct"]
    assert main([*words, "-i", str(tmp_path / "in" / "bad")]) == 2
    told = capsys.readouterr().err
    assert "has no SOPInstanceUID, by which DICOM results refer to it; choose nifti or nrrd" in told
    assert not ran
    assert not list(out.glob("bad*"))
    assert main([*words, "-i", str(tmp_path / "in")]) == 1
    assert ran == ["good"]
    assert (out / "good_rtstruct.dcm").is_file()


def test_predict_asks_which_series_is_meant(tmp_path: Path, capsys) -> None:
    for number in (2, 3):
        write_series(tmp_path / "ct", body(), spacing=(8.0, 8.0), step=8, SeriesNumber=number,
                     names=lambda k, number=number: f"{number}-{k}")  # fmt: skip
    words = ["predict", "-i", str(tmp_path / "ct"), "-o", str(tmp_path / "out"), "--tasks", "liver"]
    assert main(words) == 2
    assert "choose one with --series" in capsys.readouterr().err
    assert main([*words, "--series", "3", "--postprocess"]) == 0
    assert (tmp_path / "out" / "ct_seg.nii.gz").is_file()
    told = json.loads((tmp_path / "out" / "ct_volumes.json").read_text())
    assert told["series"] == f"{pydicom.dcmread(tmp_path / 'ct' / '3-0').SeriesInstanceUID} Abdomen"
    page = (Path(__file__).parents[2] / "docs" / "predict.md").read_text("utf-8")
    assert not [key for key in told if f"`{key}`" not in page]
    assert main([*words, "--series", told["series"]]) == 0
