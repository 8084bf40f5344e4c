"""Preparing: killed, spoilt or told otherwise, a folder is taken up again or refused."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
from originals import COARSE, FINE, collection, tree, write

from mots_pretrained.data.prepare import Preparation, prepare
from mots_pretrained.data.store import PreparedSet
from mots_pretrained.errors import UserError
from mots_pretrained.files import _beside, locked
from mots_pretrained.phantom.collections import write_collection
from mots_pretrained.tasks import Task


def spoil(livers, name, how):
    label = livers.folder / f"{name}_label.nii.gz"
    image = livers.folder / f"{name}_image.nii.gz"
    if how == "truncated":
        image.write_bytes(image.read_bytes()[:200])
    elif how == "value":
        labels = np.zeros((6, 10, 16), np.uint8)
        labels[0, 0, 0] = 7
        write(livers.folder, name, labels)
    elif how == "grid":
        sound = image.read_bytes()
        write(livers.folder, name, np.zeros((6, 10, 15), np.uint8))
        image.write_bytes(sound)
    else:
        label.unlink()


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("truncated", "b_image.nii.gz"),
        ("value", "b_label.nii.gz holds label value 7, which is in no class; known are 0, 1, 2"),
        ("grid", "b_label.nii.gz lies on another grid than b_image.nii.gz"),
        ("gone", "b_label.nii.gz"),
    ],
)
def test_a_bad_case_is_set_aside_with_its_reason_until_mended(tmp_path, livers, how, reason):
    clean = tmp_path / "clean"
    prepare([livers], clean, FINE)
    kept = {path: path.read_bytes() for path in livers.folder.iterdir()}
    spoil(livers, "b", how)
    told = []
    done = prepare([livers], tmp_path / "out", FINE, on_case=lambda *words: told.append(words))
    assert [record.identifier for record in done.records] == ["a", "c"]
    assert done.set_aside[0].identifier == "b"
    assert reason in done.set_aside[0].reason
    assert str(tmp_path) not in (tmp_path / "out" / "prepared.json").read_text()
    assert PreparedSet.open(tmp_path / "out") == done
    assert [(n, of, name, bool(why)) for n, of, name, why in told] == [
        (1, 3, "a", False),
        (2, 3, "b", True),
        (3, 3, "c", False),
    ]
    # a run that finds the case spoiled after it was prepared does not keep the old one
    if how == "gone":  # as on a disk that is away
        with pytest.warns(UserWarning, match=r"b_label.nii.gz cannot be read now; .* stays"):
            assert len(prepare([livers], clean, FINE).records) == 3
    else:
        prepare([livers], clean, FINE)
        assert not (clean / "cases" / "b").exists()
    for path, content in kept.items():
        path.write_bytes(content)
    mended = prepare([livers], tmp_path / "out", FINE)
    assert len(mended.records) == 3
    assert mended.set_aside == ()
    prepare([livers], clean, FINE)
    assert tree(clean) == tree(tmp_path / "out")


def test_what_was_prepared_of_a_disk_that_is_away_stays(tmp_path, livers):
    disk, links = tmp_path / "disk", livers.folder
    disk.mkdir()
    for path in [*links.iterdir()]:
        path.rename(disk / path.name)
        path.symlink_to(disk / path.name)
    out = tmp_path / "out"
    before = prepare([livers], out, FINE)
    held, told = tree(out), []
    disk.rename(tmp_path / "away")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = prepare([livers], out, FINE, on_case=lambda *words: told.append(words))
    assert (again.records, again.set_aside) == (before.records, ())
    assert tree(out) == held
    (tmp_path / "away").rename(disk)
    assert prepare([livers], out, FINE).records == before.records


def test_a_label_map_that_was_corrected_is_no_disk_that_is_away(tmp_path, livers):
    out, image = tmp_path / "out", livers.folder / "b_image.nii.gz"
    prepare([livers], out, FINE)
    kept = image.rename(tmp_path / "kept")
    image.symlink_to(tmp_path / "nowhere")
    write(tmp_path, "other", np.ones((6, 10, 16), np.uint8))
    (tmp_path / "other_label.nii.gz").replace(livers.folder / "b_label.nii.gz")
    found = prepare([livers], out, FINE)
    assert [one.identifier for one in found.set_aside] == ["b"]
    image.unlink()
    kept.rename(image)
    assert len(prepare([livers], out, FINE).records) == 3


def test_what_a_killed_run_has_left_is_swept_away(tmp_path, livers):
    prepare([livers], tmp_path / "clean", FINE)
    out = tmp_path / "out"
    prepare([livers], out, FINE)
    before = (out / "cases" / "a" / "image.b2nd").stat().st_mtime_ns
    (out / "cases" / "c").rename(out / "cases" / ".c.4711")
    (out / "cases" / ".b.4711").mkdir()
    (out / "cases" / "b" / "case.json").unlink()
    (out / f".99999999{_beside(out / 'prepared.json').name[len(str(os.getpid())) + 1 :]}").touch()
    index = json.loads((out / "prepared.json").read_text())
    del index["crc32"]
    (out / "prepared.json").write_text(json.dumps(index | {"complete": False, "records": []}))
    prepare([livers], out, FINE)
    assert tree(out) == tree(tmp_path / "clean")
    assert (out / "cases" / "a" / "image.b2nd").stat().st_mtime_ns == before  # not made again


def test_another_preparation_of_the_same_folder_is_refused(tmp_path, livers):
    out = tmp_path / "out"
    prepare([livers], out, FINE)
    before = tree(out)
    for other, told in (
        (
            Preparation(FINE.contract, "all-test"),
            "split 'seeded', now it is to be split 'all-test'",
        ),
        (Preparation(FINE.contract, "seeded", 1), "seed 0, now it is to be seed 1"),
        (COARSE, r"\[3.0, 2.0, 1.0\] mm.*\[6.0, 4.0, 2.0\] mm"),
    ):
        with pytest.raises(ValueError, match=told):
            prepare([livers], out, other)
    relabelled = Task("liver", "liver", "liver_tumour", (1,), (2,))
    with pytest.raises(ValueError, match="other label values of liver"):
        prepare([collection(livers.folder, "abc", relabelled)], out, FINE)
    assert tree(out) == before


def test_folders_of_others_are_refused(tmp_path, livers):
    with pytest.raises(ValueError, match=r"holds a_image.nii.gz and no prepared.json"):
        prepare([livers], livers.folder, FINE)
    with pytest.raises(UserError, match="is a file; give a folder"):
        prepare([livers], livers.folder / "a_image.nii.gz", FINE)
    with pytest.raises(ValueError, match="no labelled case"):
        prepare([], tmp_path / "out", FINE)
    (tmp_path / "out").mkdir()
    with (
        locked(tmp_path / "out"),
        pytest.raises(ValueError, match="another run is writing"),
    ):
        prepare([livers], tmp_path / "out", FINE)


def test_another_patch_or_window_is_the_same_preparation(tmp_path, livers):
    out = tmp_path / "out"
    prepare([livers], out, FINE)
    contract = replace(FINE.contract, patch=(16, 16, 16), window=(32, 32, 32))
    told = []
    prepare([livers], out, replace(FINE, contract=contract), on_case=lambda *w: told.append(w))
    assert told == [(3, 3, "", "")]


def test_a_folder_of_an_older_format_is_prepared_anew(tmp_path, livers):
    out = tmp_path / "out"
    prepare([livers], out, FINE)
    index = json.loads((out / "prepared.json").read_text())
    del index["crc32"]
    (out / "prepared.json").write_text(json.dumps(index | {"format_version": 1, "records": [{}]}))
    for path in out.glob("cases/*/case.json"):
        path.write_text("{}")
    prepare([livers], out, FINE)
    prepare([livers], tmp_path / "fresh", FINE)
    assert tree(out) == tree(tmp_path / "fresh")


@pytest.mark.long
def test_killed_five_times_it_ends_with_the_bytes_of_a_clean_run(tmp_path):
    root, out, clean = tmp_path / "root", tmp_path / "out", tmp_path / "clean"
    write_collection("mots", root, cases=1, shape=(24, 32, 32))
    words = ["prepare", "-i", f"{root}", "--split", "all-test", "--contract", "transdodnet.phantom"]
    base = [sys.executable, "-m", "mots_pretrained", *words, "-q"]
    start = time.monotonic()
    subprocess.run([*base, "-o", f"{clean}", "--workers", "1"], check=True)
    whole = time.monotonic() - start
    rng = np.random.default_rng(0)  # the machine adds chance enough
    for attempt in range(5):
        process = subprocess.Popen(
            [*base, "-o", f"{out}", "--workers", f"{1 + attempt % 2}"], start_new_session=True
        )
        time.sleep(whole * rng.uniform(0.3, 1.0))
        # workers are not killed with it: they must end of themselves
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*base, "-o", f"{out}", "--workers", "2"], check=True)
    assert tree(out) == tree(clean)


@pytest.mark.parametrize("name", ["image.b2nd", "target.b2nd", "foreground.npy", "case.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_a_prepared_case_that_is_damaged_is_made_anew(tmp_path, livers, name, damage):
    out = tmp_path / "out"
    prepare([livers], out, FINE)
    whole, path = tree(out), out / "cases" / "b" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes({"cut": data[:-3], "flipped": data, "emptied": b""}[damage])
    prepare([livers], out, FINE)
    assert tree(out) == whole


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied"])
def test_an_index_that_is_damaged_is_refused_and_written_anew(tmp_path, livers, damage):
    out = tmp_path / "out"
    prepare([livers], out, FINE)
    whole, path = tree(out), out / "prepared.json"
    text = path.read_text()
    path.write_text(
        {"cut": text[:-20], "flipped": text.replace('"step": 0.0002', '"step": 0.0003', 1),
         "emptied": ""}[damage]
    )  # fmt: skip
    assert path.read_text() != text
    with pytest.raises(UserError, match="run the same command that prepared it again"):
        PreparedSet.open(out)
    with pytest.warns(UserWarning, match=r"prepared\.json is damaged, and is written anew"):
        prepare([livers], out, FINE)
    assert tree(out) == whole
