"""Preparing: what is in the originals is in the set, whatever stopped or spoiled the work."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from originals import COARSE, FINE, collection, tree, write

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import read_case
from mots_pretrained.data.layouts import (
    find_bare,
    find_collections,
    find_labelled,
)
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.data.patches import extract
from mots_pretrained.data.prepare import Preparation, prepare, prepare_folder
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.images.content_hash import content_hash
from mots_pretrained.images.reading import read_volume
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.tasks import MOTS_TASKS, task_named


def test_values_and_geometry_come_back(tmp_path):
    labels = np.zeros((6, 10, 16), np.uint8)
    labels[1:3, 2:5, 3:9] = 1  # by the feet, in front, on the patient's right
    labels[2, 3, 4:6] = 2
    image = np.random.default_rng(0).integers(-1000, 1000, labels.shape)
    write(tmp_path, "x", labels, image=image)
    done = prepare([collection(tmp_path, "x")], tmp_path / "out", FINE)
    (record,) = done.records
    case = PreparedSet.open(tmp_path / "out").read(record)
    np.testing.assert_allclose(case.image[0], image.clip(-325, 325) / 325, atol=1 / 8192 + 1e-6)
    np.testing.assert_array_equal(case.target, np.stack([labels > 0, labels == 2]))
    assert (record.shape, record.spacing, record.labelled) == (
        (6, 10, 16),
        (3.0, 2.0, 1.0),
        (True, True),
    )
    file = tmp_path / "x_image.nii.gz"
    source = record.source
    assert (source.images, source.labels) == (("x_image.nii.gz",), ("x_label.nii.gz",))
    assert source.image_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert source.bytes[0] == file.stat().st_size
    assert source.mtimes_ns[0] == file.stat().st_mtime_ns
    assert source.content_hash == content_hash(read_volume(file))
    assert (source.shape, source.spacing, source.orientation) == (
        (16, 10, 6),
        (1.0, 2.0, 3.0),
        "LAS",
    )
    assert [f.voxels for f in record.foreground] == [36, 2]
    assert record.foreground[1].listed == 2


def test_other_spacings_keep_the_field_of_view_and_thin_tumours(tmp_path):
    labels = np.zeros((12, 20, 32), np.uint8)
    labels[2:11, 2:18, 2:30] = 1
    thin = [(4, 6, 9), (8, 12, 20), (5, 5, 25)]
    for voxel in thin:
        labels[voxel] = 2
    write(tmp_path, "x", labels)
    (record,) = prepare([collection(tmp_path, "x")], tmp_path / "out", COARSE).records
    assert record.shape == (6, 10, 16)
    assert record.spacing == (6.0, 4.0, 2.0)
    organ, tumour = PreparedSet.open(tmp_path / "out").read(record).target
    assert np.argwhere(tumour).tolist() == sorted([d // 2, h // 2, w // 2] for d, h, w in thin)
    assert (organ >= tumour).all()


def test_each_task_keeps_its_channels_and_its_place(tmp_path):
    labels = np.zeros((6, 10, 16), np.uint8)
    labels[1:3, 2:5, 3:9] = 1
    tasks = [task_named(name) for name in ("hepatic_vessel", "colon", "spleen")]
    labels[4, 4, 4:8] = 2
    write(tmp_path, "v", labels)
    for name in ("c", "s"):
        write(tmp_path, name, labels.clip(0, 1))
    collections = [collection(tmp_path, n, t) for n, t in zip("vcs", tasks, strict=True)]
    done = prepare(collections, tmp_path / "out", FINE)
    assert [record.labelled for record in done.records] == [
        (True, True),
        (False, True),
        (True, False),
    ]
    assert [done.read(record).target.sum(axis=(1, 2, 3)).tolist() for record in done.records] == [
        [36, 4],  # vessels and their tumours exclude each other
        [0, 36 + 4],
        [36 + 4, 0],
    ]
    assert [done.case(r, tasks=MOTS_TASKS).tasks for r in done.records] == [(2,), (4,), (6,)]


def test_a_further_collection_joins(tmp_path, livers):
    spleen = task_named("spleen")
    write(livers.folder, "s", np.ones((6, 10, 16), np.uint8))
    other = collection(livers.folder, "s", spleen)
    prepare([livers, other], tmp_path / "clean", FINE)
    prepare([livers], tmp_path / "out", FINE)
    prepare([livers, other], tmp_path / "out", FINE)
    assert tree(tmp_path / "out") == tree(tmp_path / "clean")
    with pytest.raises(ValueError, match="holds 3 cases that the collections given do not"):
        prepare([other], tmp_path / "out", FINE)


def test_all_seven_collections_of_phantoms(tmp_path):
    write_collection("mots", tmp_path / "root", cases=1, shape=(12, 20, 20))
    contract = Preprocessing(spacing=(40.0, 20.0, 20.0))
    found = find_collections(tmp_path / "root")
    done = prepare(found, tmp_path / "out", Preparation(contract, "all-test"))
    assert done.set_aside == ()
    assert [task.name for task in done.tasks] == [task.name for task in MOTS_TASKS]
    assert {record.split for record in done.records} == {"test"}
    assert {record.fold for record in done.records} == {None}
    for record in done.records:
        case = done.read(record)
        task = task_named(record.task)
        assert record.labelled == task.labelled
        assert case.image.min() >= -1
        assert case.image.max() <= 1
        # each channel that is labelled holds something where the phantom does, none other does
        for channel, labelled in zip(case.target, task.labelled, strict=True):
            assert labelled or not channel.any()
    liver = next(record for record in done.records if record.task == "liver")
    organ = done.read(liver).target[0]
    assert np.argwhere(organ)[:, 2].mean() < organ.shape[2] / 2  # on the patient's right


ORGANS = Targets.of_classes({"tumour": (2,), "liver": (1,)})


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_of_classes(tmp_path, livers, workers):
    """Fault 18: what is stored does not depend on the order or on what fits into memory."""
    done = prepare_folder(livers, tmp_path / "out", FINE.contract, ORGANS, workers=workers)
    assert PreparedSet.open(tmp_path / "out") == done
    assert (done.tasks, done.targets) == ((), ORGANS)
    assert {(record.split, record.fold) for record in done.records} == {("train", "train")}
    for record in done.named("cab"):
        case = done.case(record)
        whole = read_case(livers.cases["abc".index(record.identifier)], FINE.contract, ORGANS)
        assert case.image.dtype == np.float32
        np.testing.assert_allclose(np.asarray(case.image), whole.image, atol=1 / 8192 + 1e-6)
        np.testing.assert_array_equal(done.read(record).target, whole.target)
        assert (case.tasks, case.labelled, case.name) == ((), (True,), whole.name)
        assert [found.value for found in record.foreground] == [1, 2]
    with pytest.raises(KeyError, match=r"no case 'd' in .*; there are a, b, c"):
        done.named("ad")


def test_a_folder_of_other_classes_is_refused_or_replaced(tmp_path, livers):
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    prepare_folder(livers, out, FINE.contract, ORGANS)
    one = Targets.of_classes({"liver": (1, 2)})
    for contract, targets, told in (
        (FINE.contract, one, "prepared with targets"),
        (COARSE.contract, ORGANS, r"contract of \[3.0"),
        (FINE.contract, None, "prepared with targets"),
    ):
        with pytest.raises(ValueError, match=told):
            prepare_folder(livers, out, contract, targets)
    two = replace(livers, cases=livers.cases[1:])
    for contract, targets in ((COARSE.contract, ORGANS), (COARSE.contract, one)):
        prepare_folder(two, out, contract, targets, replace=True)
        prepare_folder(two, fresh, contract, targets, replace=True)
        assert tree(out) == tree(fresh)
    assert {path.name for path in (out / "cases").iterdir()} == {"b", "c"}


def test_scans_without_labels_know_their_contract(tmp_path, livers):
    """Fault 6: asked for another spacing, the cache gave the first one's voxels."""
    for path in livers.folder.glob("*_label*"):
        path.unlink()
    out, found = tmp_path / "out", find_bare(livers.folder)
    for contract in (FINE.contract, COARSE.contract):
        done = prepare_folder(found, out, contract, replace=True)
        assert [record.identifier for record in done.records] == [c.name for c in found.cases]
        case = done.case(done.records[0])
        assert case.image.shape[1:] == ((6, 10, 16) if contract == FINE.contract else (3, 5, 8))
        assert (case.target.shape[0], case.labelled, case.tasks, case.foreground) == (0, (), (), ())
        image, target = extract(case, (0, 0, 0), (4, 4, 4))
        assert (image.shape, target.shape) == ((1, 4, 4, 4), (0, 4, 4, 4))
    scan = livers.folder / "a_image.nii.gz"
    scan.write_bytes(scan.read_bytes()[:100])
    assert [one.identifier for one in prepare_folder(found, out, contract).set_aside] == [scan.name]


def test_masks_are_drawn_into_one_map_the_smaller_one_over_the_larger(tmp_path):
    volume = Volume.with_spacing(np.zeros((6, 10, 16), np.int16), (3.0, 2.0, 1.0))
    volume.array[:3] = -1000
    place = tmp_path / "data" / "s1"
    (place / "segmentations").mkdir(parents=True)
    write_like(place / "ct.nii.gz", volume.array, volume, dtype=np.int16)
    boxes = {
        "liver": np.s_[1:5, 2:8, 2:14], "lesion": np.s_[2:3, 3:6, 3:6], "spleen": np.s_[0:2],
    }  # fmt: skip
    for name, box in boxes.items():
        mask = np.zeros(volume.shape, np.uint8)
        mask[box] = 1
        write_like(place / "segmentations" / f"{name}.nii.gz", mask, volume)
    expected = np.zeros(volume.shape, np.uint8)
    for name, value in (("spleen", 3), ("liver", 2), ("lesion", 1)):  # the largest first
        expected[boxes[name]] = value
    found = find_labelled(tmp_path / "data")
    targets = Targets.of_classes(found.classes)
    done = prepare_folder(found, tmp_path / "out", FINE.contract, targets)
    np.testing.assert_array_equal(done.read(done.records[0]).target[0], expected)
    assert done.records[0].source.labels == tuple(
        f"s1/segmentations/{name}.nii.gz" for name in ("lesion", "liver", "spleen")
    )
    told = []
    prepare_folder(
        found, tmp_path / "out", FINE.contract, targets, on_case=lambda *w: told.append(w)
    )
    assert told == [(1, 1, "", "")]
    some = Targets.of_classes({"liver": (2,)})
    only = prepare_folder(found, tmp_path / "some", FINE.contract, some)
    assert only.read(only.records[0]).target.sum() == 4 * 6 * 12


def test_labels_that_are_all_background_are_refused_and_absent_classes_told(tmp_path, livers):
    """Case 15: such folders were trained on without a word."""
    other = Targets.of_classes({"cyst": (3,)}, ignore=1)
    other = replace(other, background=(2,))
    with pytest.raises(
        ValueError, match=r"a_label.nii.gz and all other label maps hold nothing of cyst"
    ):
        prepare_folder(livers, tmp_path / "out", FINE.contract, other)
    more = Targets.of_classes({"cyst": (3,), "liver": (1, 2)})
    with pytest.warns(UserWarning, match="no label map of .* holds cyst; it can't be learned"):
        prepare_folder(livers, tmp_path / "more", FINE.contract, more)


def test_any_name_of_a_case_has_a_folder_of_its_own(tmp_path, livers):
    names = ["a/b", "a%2Fb", ".hidden", "ends.", "x:y", "Ä 1", "n" * 300, "n" * 299 + "m"]
    cases = tuple(replace(livers.cases[0], name=name) for name in names)
    done = prepare_folder(replace(livers, cases=cases), tmp_path / "out", FINE.contract, ORGANS)
    assert [record.identifier for record in done.records] == names
    assert len([*(tmp_path / "out" / "cases").iterdir()]) == len(names)
    assert done.read(done.named(["a/b"])[0]).image.shape == (1, 6, 10, 16)


def test_two_cases_of_one_name_are_refused(tmp_path, livers):
    twice = replace(livers, cases=(*livers.cases, livers.cases[1]))
    with pytest.raises(ValueError, match="two cases are called 'b'; rename one of them"):
        prepare_folder(twice, tmp_path / "out", FINE.contract, ORGANS)
