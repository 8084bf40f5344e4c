"""``mots prepare``: the plan it prints, what it reports, and its exit status."""

import json

import numpy as np
import pytest

from mots_pretrained.cli import main
from mots_pretrained.images.nifti import write_nifti

CONTRACT = "transdodnet.phantom"


def write_spleens(root, names):
    """A Decathlon spleen collection of tiny scans."""
    folder = root / "Task09_Spleen"
    affine = np.diag([4.0, 4.0, 6.0, 1.0])
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in names:
        image = np.random.default_rng(0).integers(-1000, 400, (12, 12, 8)).astype(np.int16)
        label = np.zeros(image.shape, np.uint8)
        label[2:6, 3:8, 2:5] = 1
        write_nifti(folder / "imagesTr" / f"{name}.nii.gz", image, affine)
        write_nifti(folder / "labelsTr" / f"{name}.nii.gz", label, affine)
    pairs = [
        {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        for name in names
    ]
    listed = {"labels": {"0": "background", "1": "spleen"}, "training": pairs, "test": []}
    (folder / "dataset.json").write_text(json.dumps(listed))
    return folder


@pytest.fixture
def root(tmp_path):
    write_spleens(tmp_path / "root", ["spleen_2", "spleen_3", "spleen_4"])
    return tmp_path / "root"


def test_a_dry_run_prints_who_supervises_what_and_writes_nothing(root, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["prepare", "-i", f"{root}", "-o", f"{out}", "--dry-run", "--split", "seeded"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"Not found below {root}: liver (LiTS), kidney")
    assert lines[1].split("  ")[0] == "collection"
    assert lines[2].split() == ["spleen", "spleen", "-", "2", "1", "1", "0"]
    assert lines[-2].split() == ["together", "2", "1", "1", "0"]
    assert lines[-1] == "Contract: 1.5 x 0.8 x 0.8 mm, HU [-325, 325] -> [-1, 1]"
    assert not out.exists()
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    (line,) = printed["collections"]
    assert (line["organ"], line["tumour"], line["train"], line["test"]) == ("spleen", None, 2, 1)
    assert printed["contract"]["spacing"] == [1.5, 0.8, 0.8]


def test_a_set_is_prepared_for_a_model_and_reported(root, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["prepare", "-i", f"{root}", "-o", f"{out}", "--contract", CONTRACT, "--workers", "1"]
    label = root / "Task09_Spleen" / "labelsTr" / "spleen_3.nii.gz"
    sound = label.read_bytes()
    label.write_bytes(sound[:60])
    assert main([*words, "--split", "all-test"]) == 0  # the rest was done
    printed = capsys.readouterr()
    assert "   2 of 3  spleen_3  set aside: labelsTr/spleen_3.nii.gz" in printed.out
    assert (
        printed.out.splitlines()[-1] == f"{out}: 2 cases, 0 to train and 2 to test on; 1 set aside"
    )
    label.write_bytes(sound)
    assert main([*words, "--split", "all-test", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["cases"], report["test"], report["set_aside"]) == (3, 3, [])
    assert json.loads((out / "prepared.json").read_text())["contract"]["spacing"] == [4.0, 3.0, 3.0]
    assert main([*words, "--split", "seeded"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "use the same, or another folder" in error


def test_where_no_case_is_sound_the_work_has_failed(root, tmp_path, capsys):
    for path in root.rglob("labelsTr/*.nii.gz"):
        path.write_bytes(b"no NIfTI")
    words = ["prepare", "-i", f"{root}", "-o", f"{tmp_path / 'out'}", "--split", "all-test"]
    assert main([*words, "--workers", "1"]) == 1
    assert "0 cases, 0 to train and 0 to test on; 3 set aside" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no data given"),
        (["-i", "ROOT"], "where to?"),
        (["-i", "ROOT", "-o", "OUT", "--split", "thirds"], "unknown split 'thirds'"),
        (["-i", "ROOT", "-o", "OUT", "--contract", "nothing"], "unknown model 'nothing'"),
        (["-i", "ROOT", "-o", "OUT", "--workers", "-1"], "--workers is 0 or more"),
        (["-i", "ROOT", "-o", "OUT", "--liver", "ROOT"], "does not hold the liver collection"),
        (["-i", "NOWHERE", "-o", "OUT"], "no such folder"),
    ],
)
def test_wrong_input_is_one_plain_line(root, tmp_path, capsys, words, told):
    places = {"ROOT": f"{root}", "OUT": f"{tmp_path / 'out'}", "NOWHERE": f"{tmp_path / 'x'}"}
    assert main(["prepare", *[places.get(word, word) for word in words]]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
