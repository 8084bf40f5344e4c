"""No name of a user's file or folder is in what `mots push` writes, wherever it was taken from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from plain_folders import pair, scan
from small_networks import small

from mots_pretrained.cli import DONE, main
from mots_pretrained.config import Preprocessing
from mots_pretrained.data.layouts import find_bare, find_labelled
from mots_pretrained.networks import build
from mots_pretrained.tasks import PUBLIC_COLLECTIONS
from mots_pretrained.weights import upload
from mots_pretrained.weights.card import Description, model_card, renamed
from mots_pretrained.weights.provenance import TrainingScans, read_training_scans

SECRET = "SMITH"


@pytest.fixture
def trained(tmp_path, monkeypatch) -> Path:
    """A fine-tuning's folder, of folders and files that are all named after a patient."""
    monkeypatch.chdir(tmp_path)
    contract = Preprocessing(spacing=(12.0, 12.0, 12.0), patch=(32, 32, 32), window=(32, 32, 32))
    build(small("segmenter", preprocessing=contract)).save_pretrained("SMITH/base")
    for number, name in enumerate(("SMITH_1", "SMITH_2")):
        image = scan(number)
        label = np.zeros(image.shape, np.uint8)
        label[8:20, 8:20, 8:20] = 1
        pair(tmp_path / "SMITH_JANE_1961", f"{name}.nii.gz", image, label)
    words = ["finetune", "-i", "SMITH_JANE_1961", "--from", "SMITH/base", "-o", "SMITH_run"]
    words += ["--train", "head", "--set", "fit_steps=2", "--val", "1"]
    assert main([*words, "--device", "cpu", "--workers", "0"]) == DONE
    return tmp_path / "SMITH_run"


def named(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 6
    return [path.name for path in files if SECRET.encode() in path.read_bytes()]


def test_what_is_pushed_names_no_file_and_no_folder(trained, tmp_path, monkeypatch):
    assert SECRET in (trained / "training_scans.json").read_text()
    elsewhere = tmp_path / "elsewhere"  # where no folder shows that SMITH/base is none of the Hub's
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for words in ([], ["--summary", "Organs."]):
        assert main(["push", str(trained), "-o", "pub", "--with-case-names"]) == DONE
        assert main(["push", str(trained), "-o", "pub", *words]) == DONE
        assert named(elsewhere / "pub") == []
        card = (elsewhere / "pub" / "README.md").read_text()
        assert "# pub\n" in card
        assert 'mots.load("pub")' in card
        assert "Seen in training: 1 training scan, and what" in card
    record = json.loads((elsewhere / "pub" / "training.json").read_text())
    assert record["from"] == record["recipe"]["start"] == "weights in a folder"
    assert [*read_training_scans(elsewhere / "pub").scans.values()] == [""]


def test_nor_does_what_is_sent_of_a_trainings_own_folder(trained, tmp_path, monkeypatch):
    sent = {}
    monkeypatch.setattr(upload, "_commit", lambda contents, *a, **o: sent.update(contents) or "")
    monkeypatch.chdir("/")
    upload.upload_folder(trained, "org/name")
    read = {n: c if isinstance(c, bytes) else c.read_bytes() for n, c in sent.items()}
    assert "README.md" in read
    assert [name for name, content in read.items() if SECRET.encode() in content] == []


def test_a_title_that_somebody_wrote_stays():
    said = Description(name="SMITH_run", scores={"liver": 0.5})
    own = model_card(small(), said)
    assert renamed(own, "org/n") == own.replace("SMITH_run", "org/n")
    mine = own.replace("# SMITH_run", "# My own")
    assert "# My own" in renamed(mine, "org/n")
    assert renamed(own, "org/n", title="fold").count("\n# fold\n") == 1
    assert renamed("# Not ours", "org/n") == "# Not ours"


def test_collections_that_everybody_knows_are_not_called_after_their_folder(tmp_path):
    for folder, name in (("img", "img0001"), ("label", "label0001")):
        path = tmp_path / "SMITH" / folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True)
        path.touch()
    assert find_labelled(tmp_path / "SMITH").name == "BCV"
    for kind in ("t1", "t1ce", "t2", "flair", "seg"):
        for case in ("BraTS20_Training_001", "A"):
            path = tmp_path / f"brains {case}" / case / f"{case}_{kind}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert find_labelled(tmp_path / "brains BraTS20_Training_001").name == "BraTS"
    assert find_labelled(tmp_path / "brains A").name == "brains A"  # not of it, by its name
    for path in (*(tmp_path / "SMITH").glob("*/*0001.nii.gz"),):
        path.rename(path.with_name(path.name.replace("0001", "0099")))
    assert find_labelled(tmp_path / "SMITH").name == "SMITH"
    assert find_bare(tmp_path / "SMITH" / "img").name == "img"  # published without it


OWN = {
    "pairs": ("images/a.nii.gz", "labels/a.nii.gz"),
    "nnunet": ("imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "dataset.json"),
    "bcv": ("img/img0099.nii.gz", "label/label0099.nii.gz"),
    "brats": tuple(f"A/A_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair", "seg")),
    "masks": ("A/ct.nii.gz", "A/segmentations/aorta.nii.gz"),
    "bare": ("a.nii.gz",),
}  # layouts whose collection is called after its folder


@pytest.mark.parametrize("layout", OWN)
def test_a_folder_called_like_a_public_collection_is_not_published_as_one(layout, tmp_path):
    for name in sorted(PUBLIC_COLLECTIONS):
        for file in OWN[layout]:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"labels": {"background": 0, "organ": 1}}))
        found = (find_bare if layout == "bare" else find_labelled)(tmp_path / name)
        seen = TrainingScans({"1" * 64: f"{found.name}/{found.cases[0].name}"})
        assert [*seen.without_identifiers().scans.values()] == [""], name


def test_a_collection_known_by_its_layout_is_published_whatever_its_folder_is_called(tmp_path):
    for file in ("volume-0.nii", "segmentation-0.nii"):
        (tmp_path / SECRET).mkdir(exist_ok=True)
        (tmp_path / SECRET / file).touch()
    found = find_labelled(tmp_path / SECRET)
    seen = TrainingScans({"1" * 64: f"{found.name}/{found.cases[0].name}"})
    assert [*seen.without_identifiers().scans.values()] == ["liver/"]
