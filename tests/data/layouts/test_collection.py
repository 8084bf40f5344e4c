"""Cases, their files and what a collection says of them, whatever its layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from mots_pretrained.data.layouts.collection import (
    CaseFiles,
    Collection,
    add_once,
    exclude_each_other,
    folders_below,
    numbered,
    pair,
    patient_of,
)
from mots_pretrained.errors import MissingFileError, UserError
from mots_pretrained.tasks import task_named

CT = Path("ct.nii")


def test_labels_are_a_map_or_masks_by_name_or_nothing():
    assert CaseFiles("a", (CT,)).label_files == ()
    assert CaseFiles("a", (CT,), Path("seg.nii")).label_files == (Path("seg.nii"),)
    masks = {"spleen": Path("s.nii"), "liver": Path("l.nii")}
    assert CaseFiles("a", (CT,), masks=masks).label_files == (Path("l.nii"), Path("s.nii"))
    assert hash(CaseFiles("a", (CT,), masks=masks)) == hash(CaseFiles("a", (CT,)))


def test_time_points_of_brats_are_of_one_patient():
    names = ("BraTS-GLI-02000-100", "BraTS-GLI-02000-101-seg", "x/BraTS-MET-00086-000/a")
    assert [*map(patient_of, names)] == ["BraTS-GLI-02000"] * 2 + ["BraTS-MET-00086"]
    for name in ("BraTS20_Training_001", "liver_100", "case-00001-100", "BraTS-GLI-02000-1001"):
        assert patient_of(name) == name
    assert CaseFiles("BraTS-GLI-02000-101", ()).patient == "BraTS-GLI-02000"


def test_training_is_made_of_what_is_labelled():
    bare, labelled = CaseFiles("a", (CT,)), CaseFiles("b", (CT,), Path("seg.nii"))
    found = Collection("spleen", Path("here"), (bare, labelled), task_named("spleen"))
    assert found.labelled == (labelled,)
    assert found.supervises.organ == "spleen"
    with pytest.raises(UserError, match="here is no collection of organ and tumour; describe it"):
        _ = Collection("x", Path("here"), (bare,)).supervises


def test_classes_by_number_exclude_each_other_and_nested_regions_do_not():
    assert numbered(("liver", "spleen")) == {"liver": (1,), "spleen": (2,)}
    assert exclude_each_other(numbered(("liver", "spleen")))
    assert exclude_each_other({"kidneys": (2, 3), "liver": (6,)})
    assert not exclude_each_other({"organ": (1, 2), "tumour": (2,)})


def test_images_and_label_maps_are_paired_by_name():
    images = {"b": Path("b.nii"), "a": Path("a.nii")}
    labels = {"a": Path("a_seg.nii"), "b": Path("b_seg.nii")}
    assert pair(images, labels, hint="unpack") == (
        CaseFiles("b", (Path("b.nii"),), Path("b_seg.nii")),
        CaseFiles("a", (Path("a.nii"),), Path("a_seg.nii")),
    )
    with pytest.raises(UserError, match=r"^a\.nii has no label map; unpack$"):
        pair(images, {"b": Path("b_seg.nii")}, hint="unpack")
    with pytest.raises(UserError, match=r"^a_seg\.nii has no image \(and 1 more cases"):
        pair({}, labels, hint="unpack")


def test_a_case_that_lies_there_twice_is_named_with_both_files():
    found = {"a": Path("one/a.nii")}
    add_once(found, "b", Path("b.nii"))
    assert found["b"] == Path("b.nii")
    with pytest.raises(UserError, match=r"one.a\.nii and two.a\.nii are both a; keep one of them"):
        add_once(found, "a", Path("two/a.nii"))


def test_folders_are_looked_through_level_by_level_and_not_deeper(tmp_path):
    (tmp_path / "b" / "c" / "d" / "e").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    (tmp_path / ".hidden" / "x").mkdir(parents=True)
    (tmp_path / "file").touch()
    found = [path.relative_to(tmp_path).as_posix() for path in folders_below(tmp_path)]
    assert found == [".", "a", "b", "b/c", "b/c/d"]
    with pytest.raises(MissingFileError, match=r"no such folder: .*give the one that holds the"):
        next(folders_below(tmp_path / "none"))
