"""The look at real scans: Dice where there are labels, false volumes where there are none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mots_pretrained.evaluation.names import LabelNames, read_label_names
from mots_pretrained.images.volume import Volume, write_like


def test_organs_are_scored_and_tumours_without_labels_are_measured(script):
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[:2] = 5
    drawn = np.zeros((4, 4, 4), np.uint8)
    drawn[:2, :2], drawn[3, 0, :3] = 1, 2
    masks = {"liver": truth == 5, "liver_tumour": drawn == 2}
    prediction = SimpleNamespace(
        labels=drawn,
        spacing=(5.0, 2.0, 2.0),
        label_values={"liver": (1,), "liver_tumour": (2,)},
        mask=masks.get,
    )
    names = LabelNames({"liver": (5,), "spleen": (1,)})
    found = script.look(lambda volume: prediction, None, truth, names)
    assert found["liver"] == {"mask": 1.0, "label map": pytest.approx(2 * 16 / 48)}
    false = {"false ml in masks": pytest.approx(0.06), "false ml in label map": 0.06}
    assert found["liver_tumour"] == pytest.approx(false)
    assert found["all tumours"] == pytest.approx(false)


def test_a_slab_lies_around_the_first_class(script):
    labels = np.zeros((40, 4, 4), np.uint8)
    labels[20:30] = 7
    scan = Volume.with_spacing(np.arange(640.0).reshape(40, 4, 4), (3.0, 1.0, 1.0))
    names = LabelNames({"liver": (7,)})
    volume, cut = script.slab(scan, Volume.with_spacing(labels, scan.spacing), names, 12.0)
    assert volume.shape == cut.shape == (4, 4, 4)
    assert volume.array[0, 0, 0] == 16 * 22
    assert (cut.array == 7).all()


def test_painted_label_maps_come_once_a_seed_whole_or_in_part(script, tmp_path):
    labels = np.zeros((30, 24, 24), np.uint8)
    labels[5:25, 6:18, 4:12], labels[5:25, 6:18, 14:18] = 1, 2
    volume = Volume.with_spacing(labels, (3.0, 5.0, 5.0))
    write_like(tmp_path / "case_seg.nii.gz", labels, volume)
    names = LabelNames({"liver": (1,), "both": (1, 2), "kidney_right": (2,), "brain": (90,)})
    given = SimpleNamespace(paint="0,3", truth=str(tmp_path), input=None, randomise=0.0, slab=0.0)
    found = list(script.cases(given, names))
    assert [case for case, _, _ in found] == ["case painted 0", "case painted 3"]
    for _, scan, truth in found:
        assert scan.shape == truth.shape == (30, 24, 24)
        assert np.array_equal(truth.array, labels)
        assert np.array_equal(scan.array, np.rint(scan.array))
        assert scan.array[labels == 1].mean() > scan.array[labels == 0].mean() + 50
    assert not np.array_equal(found[0][1].array, found[1][1].array)
    given.slab, given.paint = 36.0, "3"
    ((_, part, cut),) = script.cases(given, names)
    assert part.shape == cut.shape == (12, 24, 24)
    assert np.array_equal(part.array, found[1][1].array[8:20])  # around the liver's middle


@pytest.mark.parametrize("name", ["totalsegmentator", "amos"])
def test_the_painter_knows_what_collections_name(script, name):
    from mots_pretrained.phantom.paint_map import tissue_of

    names = read_label_names(Path(script.__file__).parent / "names" / f"{name}.json")
    assert next(iter(names.classes)) == "liver"
    assert names.classes["kidney"] == (2, 3)
    for own in {*names.classes} - {"brain"}:
        assert tissue_of(own)
