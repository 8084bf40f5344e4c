import hashlib
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mots_pretrained.errors import UserError
from mots_pretrained.images.reading import read_volume
from mots_pretrained.phantom import TORSO_LABELS, task_target, torso
from mots_pretrained.phantom import collections as written_by
from mots_pretrained.phantom.collections import bcv_label, source_label, write_collection
from mots_pretrained.phantom.labels import LABEL
from mots_pretrained.phantom.layouts import mots_layout
from mots_pretrained.tasks import BCV_ORGANS, MOTS_TASKS

_TINY = (16, 24, 24)


@pytest.fixture(scope="module")
def mots(tmp_path_factory) -> tuple[Path, list]:
    root = tmp_path_factory.mktemp("mots")
    return root, write_collection("mots", root, cases=2, seed=7, shape=_TINY)


@pytest.fixture(scope="module")
def bcv(tmp_path_factory) -> tuple[Path, list]:
    root = tmp_path_factory.mktemp("bcv")
    return root, write_collection("bcv", root, cases=2, seed=7, shape=(32, 40, 40))


def _tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_layouts_are_the_downloads(mots):
    root, _ = mots
    for path in (
        "LiTS/Training Batch 1/volume-0.nii",
        "LiTS/Training Batch 1/segmentation-1.nii",
        "kits19/data/case_00000/imaging.nii.gz",
        "kits19/data/case_00001/segmentation.nii.gz",
        "Task06_Lung/imagesTr/lung_001.nii.gz",
        "Task07_Pancreas/labelsTr/pancreas_002.nii.gz",
        "Task08_HepaticVessel/imagesTr/._hepaticvessel_001.nii.gz",
        "Task09_Spleen/imagesTs/spleen_3.nii.gz",
        "Task10_Colon/dataset.json",
        "complete_labels/labels.json",
    ):
        assert (root / path).is_file(), path
    assert not (root / "Task09_Spleen/labelsTr/spleen_3.nii.gz").exists()
    assert not [path for path in root.rglob(".*") if not path.name.startswith("._")]


def test_decathlon_lists_what_is_there(mots):
    root, _ = mots
    for folder in root.glob("Task*"):
        listed = json.loads((folder / "dataset.json").read_text())
        assert listed["numTraining"] == len(listed["training"]) == 2
        for pair in listed["training"]:
            assert (folder / pair["image"]).is_file()
            assert (folder / pair["label"]).is_file()
        assert all((folder / scan).is_file() for scan in listed["test"])
    vessels = json.loads((root / "Task08_HepaticVessel/dataset.json").read_text())
    assert vessels["labels"] == {"0": "background", "1": "Vessel", "2": "Tumour"}
    # Beside every scan a resource fork that is no NIfTI.
    fork = (root / "Task10_Colon/imagesTr/._colon_001.nii.gz").read_bytes()
    assert fork[:4] == bytes.fromhex("00051607")


def test_headers_are_real_ones(mots):
    root, _ = mots
    odd = nib.load(root / "kits19/data/case_00001/segmentation.nii.gz")
    even = nib.load(root / "kits19/data/case_00000/segmentation.nii.gz")
    for image in (odd, even):
        assert image.shape == _TINY  # (slice, row, column)
        assert nib.aff2axcodes(image.affine) == ("I", "P", "L")
    assert odd.get_data_dtype() == np.uint16
    assert (int(odd.header["sform_code"]), int(odd.header["qform_code"])) == (0, 1)
    assert (int(even.header["sform_code"]), int(even.header["qform_code"])) == (2, 0)
    spleen = nib.load(root / "Task09_Spleen/imagesTr/spleen_1.nii.gz")
    assert nib.aff2axcodes(spleen.affine) == ("R", "A", "S")
    assert spleen.shape == _TINY[::-1]
    lits = [nib.load(root / f"LiTS/Training Batch 1/volume-{i}.nii") for i in range(2)]
    assert [nib.aff2axcodes(scan.affine) for scan in lits] == [tuple("LPS"), tuple("RAS")]
    assert [scan.get_data_dtype() for scan in lits] == [np.int16, np.float32]


def test_header_agrees_with_a_real_kits19_file(mots, shared):
    root, _ = mots
    real = nib.load(shared / "data/label_maps/kits19/case_00023_segmentation.nii.gz")
    ours = nib.load(root / "kits19/data/case_00001/segmentation.nii.gz")
    assert nib.aff2axcodes(ours.affine) == nib.aff2axcodes(real.affine)
    assert ours.get_data_dtype() == real.get_data_dtype()
    for code in ("sform_code", "qform_code"):
        assert int(ours.header[code]) == int(real.header[code])


def test_every_label_is_what_its_collection_would_have_drawn(mots):
    root, cases = mots
    for task in MOTS_TASKS:
        own = [case for case in cases if case.task == task.name]
        assert sum(case.label is not None for case in own) == 2
        for case in own:
            complete = read_volume(root / case.complete)
            image = read_volume(root / case.images[0])
            np.testing.assert_allclose(complete.affine, image.affine, atol=1e-4)
            assert complete.shape == image.shape == _TINY
            if case.label is None:
                continue
            label = read_volume(root / case.label)
            organ, tumour = task_target(complete.array, task)
            if task.organ is not None:
                assert (np.isin(label.array, task.organ_values) == organ).all()
            if task.tumour is not None:
                assert (np.isin(label.array, task.tumour_values) == tumour).all()


def test_scans_are_upright_after_canonical_reading(mots):
    root, cases = mots
    for task in ("liver", "kidney", "spleen"):  # LPS, IPL and RAS
        case = next(case for case in cases if case.task == task)
        phantom = torso(written_by._case_seed(7, task, 0), domain=task, shape=_TINY)
        scan = read_volume(root / case.images[0])
        np.testing.assert_allclose(scan.array, np.rint(phantom.image), atol=0.51)
        assert scan.spacing == pytest.approx(phantom.spacing, rel=1e-5)


def test_labels_json_names_every_value(mots):
    root, _ = mots
    names = json.loads((root / "complete_labels/labels.json").read_text())
    assert names == {str(i): name for i, name in enumerate(TORSO_LABELS, start=1)}
    listed = json.loads((root / "complete_labels/cases.json").read_text())
    assert len(listed) == 7 * 2 + 5
    assert all((root / case["complete"]).is_file() for case in listed)


def test_a_rerun_gives_the_same_bytes_and_counts_progress(bcv, tmp_path):
    root, _ = bcv
    seen = []
    write_collection(
        "bcv", tmp_path, cases=2, seed=7, shape=(32, 40, 40),
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    assert _tree(tmp_path) == _tree(root)
    assert seen == [("img0001", 1, 2), ("img0002", 2, 2)]


@pytest.mark.parametrize(
    ("kind", "cases", "stray"),
    [
        ("bcv", 1, "complete_labels/bcv_img0002.nii.gz"),  # an earlier call drew two
        ("mots", 2, "complete_labels/bcv_img0001.nii.gz"),  # another kind
        ("brats", 1, "complete_labels/bcv_img0001.nii.gz"),
    ],
)
def test_what_an_earlier_call_left_is_no_part_of_a_later_collection(
    bcv, tmp_path, kind, cases, stray
):
    """A folder of two cases became one of the first drawn anew and the second of before."""
    shutil.copytree(bcv[0], tmp_path / "root")
    before = _tree(tmp_path / "root")
    with pytest.raises(UserError, match=f"root holds {stray}, which is none of these .*another"):
        write_collection(kind, tmp_path / "root", cases=cases, shape=_TINY)
    assert _tree(tmp_path / "root") == before


def test_files_of_an_interrupted_call_and_other_folders_are_no_hindrance(tmp_path, monkeypatch):
    monkeypatch.setattr(written_by, "_mots_case", _draw_nothing)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read.txt").write_text("beside")
    for name in ("LiTS/Training Batch 1/volume-1.nii", "Task09_Spleen/imagesTr/._spleen_9.nii.gz"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    for cases in (2, 2, 3):
        write_collection("mots", tmp_path, cases=cases, shape=_TINY)
    label = tmp_path / "Task09_Spleen/labelsTr/spleen_3.nii.gz"
    label.parent.mkdir()
    label.touch()  # as the calls above would have
    write_collection("mots", tmp_path, cases=3, shape=_TINY)
    with pytest.raises(UserError, match="labelsTr/spleen_3"):  # which has no label among two
        write_collection("mots", tmp_path, cases=2, shape=_TINY)


def _draw_nothing(wish, task, index, *, labelled):
    layout = mots_layout(task.name, index, labelled=labelled)
    case = written_by._torso_files(task.name, layout, labelled=labelled)
    for path in (case.complete, case.images[0]):
        (wish.root / path).parent.mkdir(parents=True, exist_ok=True)
    return case


def test_bcv_has_thirteen_organs_and_nothing_else(bcv):
    root, cases = bcv
    assert [case.images[0] for case in cases] == ["img/img0001.nii.gz", "img/img0002.nii.gz"]
    for case in cases:
        image = nib.load(root / case.label)
        assert nib.aff2axcodes(image.affine) == ("L", "A", "S")
        values = set(np.unique(np.asarray(image.dataobj)))
        assert values <= set(range(len(BCV_ORGANS) + 1))
        assert {LABEL["liver"], LABEL["spleen"], LABEL["aorta"]} <= values


def test_every_scan_of_bcv_is_portal_venous(tmp_path):
    for case in write_collection("bcv", tmp_path, cases=5, seed=5, shape=(48, 64, 64)):
        scan = read_volume(tmp_path / case.images[0]).array
        label = read_volume(tmp_path / str(case.label)).array
        veins, aorta = (
            float(np.median(scan[label == LABEL[name]]))
            for name in ("portal_and_splenic_vein", "aorta")
        )
        assert 0.7 * veins < aorta < 1.3 * veins, case.identifier  # twice in the arterial phase
        assert veins > 120  # some 42 without contrast


def test_bcv_label_gives_what_grows_in_an_organ_to_the_organ():
    row = ["right_kidney", "kidney_tumour", "", "", "kidney_cyst", "left_kidney", "liver_tumour",
           "hepatic_vessel", "pancreas_tumour", "colon", "bone"]  # fmt: skip
    labels = np.array([[[LABEL[name] if name else 0 for name in row]]], dtype=np.uint8)
    expected = ["right_kidney", "right_kidney", "", "", "left_kidney", "left_kidney", "liver",
                "liver", "pancreas", "", ""]  # fmt: skip
    assert bcv_label(labels).ravel().tolist() == [LABEL[n] if n else 0 for n in expected]


def test_source_label_by_hand():
    labels = np.array([[[0, LABEL["colon"], LABEL["colon_tumour"], LABEL["hepatic_vessel"],
                         LABEL["liver_tumour"], LABEL["liver"]]]], dtype=np.uint8)  # fmt: skip
    assert source_label(labels, "colon").ravel().tolist() == [0, 0, 1, 0, 0, 0]
    assert source_label(labels, "hepatic_vessel").ravel().tolist() == [0, 0, 0, 1, 2, 0]
    assert source_label(labels, "liver").ravel().tolist() == [0, 0, 0, 1, 2, 1]
    assert source_label(labels, "spleen").ravel().tolist() == [0] * 6


def test_brats_folders_headers_and_values(tmp_path):
    cases = write_collection("brats", tmp_path, cases=2, seed=1, shape=(20, 32, 32))
    assert {Path(case.label).parts[0] for case in cases} == {"HGG", "LGG"}
    for case in cases:
        names = [Path(path).name for path in case.images]
        assert names == [f"{case.identifier}_{m}.nii.gz" for m in ("t1", "t1ce", "t2", "flair")]
        label = nib.load(tmp_path / case.label)
        assert nib.aff2axcodes(label.affine) == ("L", "P", "S")
        assert set(np.unique(np.asarray(label.dataobj))) <= {0, 1, 2, 4}
        for path in case.images:
            scan = nib.load(tmp_path / path)
            assert scan.shape == (32, 32, 20)
            assert scan.get_data_dtype() == np.int16
    names = json.loads((tmp_path / "complete_labels/labels.json").read_text())
    assert names == {"1": "necrotic_core", "2": "oedema", "4": "enhancing_tumour"}


def test_impossible_wishes_are_told(tmp_path):
    with pytest.raises(KeyError, match="unknown kind of phantoms 'liver'"):
        write_collection("liver", tmp_path, cases=1)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        write_collection("mots", tmp_path, cases=0)
    with pytest.raises(ValueError, match="non-negative"):
        write_collection("mots", tmp_path, cases=1, seed=-1)
    with pytest.raises(ValueError, match="no spacing"):
        write_collection("brats", tmp_path, cases=1, spacing=(1, 1, 1))
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.raises(UserError, match="is a file; give a folder"):
        write_collection("mots", occupied, cases=1)
