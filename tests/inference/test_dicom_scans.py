"""Trees, folders and zips of DICOM series as scans, and `mots predict` over them."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dicom_series import CORONAL, voxels, write_series

from mots_pretrained.cli import main
from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.images.reading import read_labels, read_volume
from mots_pretrained.inference.cohort import find_scans
from mots_pretrained.inference.dicom_scans import dicom_scans, may_be_dicom


def tree(root: Path) -> Path:
    """Two patients: one with two series in one folder and a localizer, one with a zip."""
    first = root / "P1" / "study"
    for number, name in ((2, "arterial"), (3, "portal")):
        write_series(first, voxels(seed=number), SeriesNumber=number, SeriesDescription=name,
                     names=lambda k, name=name: f"{name}{k}")  # fmt: skip
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
    assert [scan.name for scan in find_scans([root], 1, series="portal")] == ["P1_study"]
    with pytest.raises(UnknownNameError, match=r"has no series 'late'; there are: .*portal"):
        find_scans([root], 1, series="late")


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
    assert {Path(path).name for path in report["scans"][0]["segmentations"].values()} == {
        "good.seg.nrrd", "good_seg.dcm", "good_rtstruct.dcm",
    }  # fmt: skip
    with open(out / "failures.csv", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"bad", "broken.zip"}
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


def test_predict_asks_which_series_is_meant(tmp_path: Path, capsys) -> None:
    for number in (2, 3):
        write_series(tmp_path / "ct", body(), spacing=(8.0, 8.0), step=8, SeriesNumber=number,
                     names=lambda k, number=number: f"{number}-{k}")  # fmt: skip
    words = ["predict", "-i", str(tmp_path / "ct"), "-o", str(tmp_path / "out"), "--tasks", "liver"]
    assert main(words) == 2
    assert "choose one with --series" in capsys.readouterr().err
    assert main([*words, "--series", "3"]) == 0
    assert (tmp_path / "out" / "ct_seg.nii.gz").is_file()
