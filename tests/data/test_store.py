"""The store: what goes in comes out, patch by patch, with the same bytes every time."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from noise_case import noise_case

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.partial_labels import Targets
from mots_pretrained.data.patches import draw_start, extract
from mots_pretrained.data.store import (
    PREPARING_VERSION,
    CaseRecord,
    PreparedSet,
    Provenance,
    SetAside,
    case_folder,
    read_index,
    read_record,
    write_index,
    write_record,
)
from mots_pretrained.data.stored_case import write_case
from mots_pretrained.tasks import MOTS_TASKS, task_named

SOURCE = Provenance(
    *(("a.nii.gz",), ("b.nii.gz",), "00", "11", (1, 2), (3, 4), "22"),
    *((40, 40, 20), (0.8, 0.8, 1.5), "LPS", tuple(tuple(row) for row in np.eye(4).tolist())),
)
TASKS = (task_named("liver"), task_named("colon"))


def put(root, case, *, split="train", fold="train", task="liver"):
    folder = case_folder(root, case.name)
    folder.mkdir(parents=True)
    step, classes = write_case(folder, case)
    record = CaseRecord(
        *(case.name, "LiTS", task, Preprocessing(), Targets.of_task(task_named(task))),
        *(PREPARING_VERSION, case.shape, (1.5, 0.8, 0.8), case.labelled, step, classes),
        source=SOURCE,
    )
    write_record(folder, record)
    return dataclasses.replace(record, split=split, fold=fold)


@pytest.fixture
def prepared(tmp_path):
    cases = [noise_case(0), noise_case(1, name="volume-4"), noise_case(2, name="colon_001")]
    records = (
        put(tmp_path, cases[0]),
        put(tmp_path, cases[1], split="test", fold=None),
        put(tmp_path, cases[2], fold="validation", task="colon"),
    )
    aside = (SetAside("volume-9", "LiTS", "it is truncated"),)
    made = PreparedSet(tmp_path, Preprocessing(), TASKS, records, aside)
    write_index(made, {"seed": 0})
    return made, cases


def test_a_set_comes_back_as_it_was_written(prepared):
    made, cases = prepared
    opened = PreparedSet.open(made.folder)
    assert opened == made
    assert read_record(case_folder(made.folder, "volume-3")) == dataclasses.replace(
        made.records[0], split="train", fold=None
    )
    case = opened.read(opened.records[0])
    np.testing.assert_allclose(case.image, cases[0].image, atol=1 / 8192 + 1e-7)
    np.testing.assert_array_equal(case.target, cases[0].target)
    assert case.image.dtype == np.float32
    assert case.target.dtype == np.uint8
    assert (case.labelled, case.tasks, case.name) == ((True, True), (0,), "volume-3")
    assert opened.case(opened.records[0], tasks=MOTS_TASKS).tasks == (0,)
    assert opened.case(opened.records[2]).tasks == (1,)
    assert opened.case(opened.records[2], tasks=MOTS_TASKS).tasks == (4,)


def test_records_are_selected(prepared):
    made, _ = prepared
    names = lambda **wish: [record.identifier for record in made.select(**wish)]  # noqa: E731
    assert names() == ["volume-3", "volume-4", "colon_001"]
    assert names(split="test") == ["volume-4"]
    assert names(split="train", fold="validation") == ["colon_001"]
    assert names(task="liver") == ["volume-3", "volume-4"]
    with pytest.raises(KeyError, match=r"no case of task 'lung'.*liver, colon"):
        made.select(task="lung")
    with pytest.raises(KeyError, match="colon_001 is of task 'colon'; known are liver"):
        made.case(made.records[2], tasks=TASKS[:1])


@pytest.mark.parametrize("start", [(0, 0, 0), (7, 11, 13), (-3, 30, 35)])
def test_a_patch_read_from_disk_is_that_of_the_whole_case(prepared, start):
    made, _ = prepared
    whole, lazy = made.read(made.records[0]), made.case(made.records[0])
    angle = np.array([[0.9, 0.1, 0.0], [-0.2, 1.1, 0.1], [0.0, 0.3, -0.8]])
    for matrix in (None, angle):
        for a, b in zip(
            extract(whole, start, (9, 14, 10), matrix=matrix),
            extract(lazy, start, (9, 14, 10), matrix=matrix),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_foreground_is_drawn_without_reading_a_voxel(prepared):
    made, cases = prepared
    lazy = pickle.loads(pickle.dumps(made.case(made.records[0])))
    for name in ("image.b2nd", "target.b2nd"):
        (case_folder(made.folder, "volume-3") / name).unlink()
    for seed in range(20):
        drawn = [
            draw_start(case, (4, 8, 8), np.random.default_rng(seed), foreground=1.0)
            for case in (lazy, cases[0])
        ]
        assert drawn[0] == drawn[1]


def test_a_case_without_labels_has_no_foreground(tmp_path):
    case = noise_case()
    case.target[:] = 0
    record = put(tmp_path, case)
    assert PreparedSet(tmp_path, Preprocessing(), TASKS, (record,)).case(record).foreground == ()


def test_folders_that_are_no_set_are_refused(tmp_path, prepared):
    made, _ = prepared
    with pytest.raises(FileNotFoundError, match="is no prepared folder"):
        PreparedSet.open(tmp_path / "nowhere")
    path = made.folder / "prepared.json"
    content = json.loads(path.read_text())
    del content["crc32"]  # as an earlier version has left it
    for change, error in (
        ({"complete": False}, "only partly prepared"),
        ({"format_version": 99}, "upgrade with"),
        ({"format_version": 1}, "older version of this package; run the same mots prepare"),
        ({"tasks": [{"name": 7}]}, "name must be str"),
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(ValueError, match=error):
            PreparedSet.open(made.folder)
    path.write_text('{"complete": true}')
    with pytest.raises(ValueError, match="lacks 'contract'"):
        read_index(made.folder)
    path.write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        PreparedSet.open(made.folder)
