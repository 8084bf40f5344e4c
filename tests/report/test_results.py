"""Results read again: what is damaged, what is missing, and who is an outlier."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from predicted_folder import write_volumes

from mots_pretrained.errors import UnknownNameError, UserError
from mots_pretrained.report.results import Result, number, outliers, read_failures, read_results


def results(*volumes: float) -> list[Result]:
    return [
        Result(None, {"scan": f"s{k}", "categories": {"liver": {"volume_ml": ml, "median": None}}})
        for k, ml in enumerate(volumes)
    ]


def test_outliers_are_far_from_the_other_scans():
    # median 100.5, median distance from it 1: 3.5 robust deviations are 5.19
    scans = results(100, 101, 99, 102, 98, 100, 101, 105.6)
    assert outliers(scans, "liver", "volume_ml") == set()
    scans = results(100, 101, 99, 102, 98, 100, 101, 105.8)
    assert outliers(scans, "liver", "volume_ml") == {"s7"}
    assert outliers(scans[1:], "liver", "volume_ml") == set()  # seven tell nothing
    assert outliers(scans, "liver", "median") == set()
    assert outliers(scans, "spleen", "volume_ml") == set()
    assert outliers(results(*[100] * 9, 900), "liver", "volume_ml") == set()  # of no spread


def test_a_median_of_0_is_a_number_and_a_volume_of_0_an_absence():
    scans = results(*[100, 101, 99, 102, 98, 100, 101, 100, 0])
    for scan, median in zip(scans, (100, 101, 99, 102, 98, 100, 101, 0, 100), strict=True):
        scan.told["categories"]["liver"]["median"] = float(median)
    assert outliers(scans, "liver", "median") == {"s7"}
    assert outliers(scans, "liver", "volume_ml") == set()


def test_scans_that_moved_are_found_by_the_ends_of_their_paths(tmp_path):
    for place in ("case_a", "case_b"):
        (tmp_path / "moved" / place).mkdir(parents=True)
        (tmp_path / "moved" / place / "t1.nii.gz").touch()
    (tmp_path / "moved/ct.nii.gz").touch()
    for told, found in {
        "../scans/case_b/t1.nii.gz": ["case_b/t1.nii.gz"],
        "../scans/ct.nii.gz": ["ct.nii.gz"],
        "/data/scans/case_a/t1.nii.gz": ["case_a/t1.nii.gz"],
        "../scans/case_c/t1.nii.gz": [],
    }.items():
        result = Result(tmp_path / "out", {"files": [told]})
        moved = tmp_path / "moved"
        assert result.scan_files(moved) == [moved / path for path in found]


def test_absent_and_endless_numbers_are_none():
    (one,) = results(5.5)
    assert number(one, "liver", "volume_ml") == 5.5
    assert number(one, "liver", "median") is None
    assert number(one, "spleen", "volume_ml") is None
    assert number(results(np.inf)[0], "liver", "volume_ml") is None


def test_one_or_all_scans_of_a_folder_are_read(tmp_path):
    for name in ("b", "a"):
        write_volumes(tmp_path, name, 2.0)
    (tmp_path / ".c_volumes.json").write_text("[]")  # hidden, as copies from a Mac are
    assert [one.name for one in read_results(tmp_path)] == ["a", "b"]
    assert [one.name for one in read_results(tmp_path, "b")] == ["b"]
    with pytest.raises(UnknownNameError, match="has no scan 'x'; it has a, b"):
        read_results(tmp_path, "x")
    with pytest.raises(UserError, match="holds no results of mots predict, no training"):
        read_results(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    "change",
    [
        lambda told: [],
        lambda told: {k: v for k, v in told.items() if k != "scan"},
        lambda told: {**told, "volumes_ml": {"liver": "much"}},
        lambda told: {**told, "labels": {"liver": []}},
        lambda told: {**told, "doubts": [{"kind": "volume"}]},
        lambda told: {**told, "seen_volumes_ml": {"liver": [1.0]}},
    ],
)
def test_a_damaged_file_is_named(tmp_path, change):
    path = write_volumes(tmp_path, "a", 2.0)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(UserError, match=r"a_volumes\.json is no file of volumes .* predict the"):
        read_results(tmp_path)


def test_label_maps_and_scans_are_looked_for_where_they_may_be(tmp_path):
    write_volumes(tmp_path, "a", 2.0)
    (one,) = read_results(tmp_path)
    told = {**one.told, "labels": {"liver": [1, 2], "node": 7}, "segmentation": "a_seg.dcm",
            "segmentations": {"nrrd": "../a.seg.nrrd"}, "files": ["../in/a.nii.gz"]}  # fmt: skip
    one = dataclasses.replace(one, told=told)
    assert one.values == {"liver": 1, "node": 7}
    assert one.label_map is None
    (tmp_path / "a_seg.dcm").touch()
    (tmp_path / "a.seg.nrrd").touch()
    assert one.label_map == tmp_path / "a.seg.nrrd"  # in the folder, whatever the file says
    assert one.scan_files(None) == []
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "a.nii.gz").touch()
    assert one.scan_files(tmp_path / "moved") == [tmp_path / "moved" / "a.nii.gz"]


def test_failures_are_read_and_none_are_no_error(tmp_path):
    assert read_failures(tmp_path) == []
    (tmp_path / "failures.csv").write_text('file,kind,reason\na.nii,UserError,"empty, it is"\n')
    assert read_failures(tmp_path) == [
        {"file": "a.nii", "kind": "UserError", "reason": "empty, it is"}
    ]
