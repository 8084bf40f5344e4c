"""mots evaluate: a table or one JSON object, and errors as one line."""

import json

import numpy as np
import pytest

from mots_pretrained.cli import main
from mots_pretrained.volume import Volume, write_like


@pytest.fixture
def folders(tmp_path):
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[:2] = 1
    for name, array in (("out", np.roll(labels, 1, axis=0)), ("truth", labels)):
        (tmp_path / name).mkdir()
        suffix = "_seg" if name == "out" else ""
        write_like(
            tmp_path / name / f"a{suffix}.nii.gz", array, Volume.with_spacing(array, (2, 2, 2))
        )
    (tmp_path / "names.json").write_text('{"liver": 1, "spleen": 2}')
    return tmp_path


def evaluate(root, *words):
    where = ["-i", str(root / "out"), "--truth", str(root / "truth")]
    return main(["evaluate", *where, "--labels", str(root / "names.json"), *words])


def test_json(folders, capsys):
    assert evaluate(folders, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["mean_dice"] == 0.5
    assert values["dice"] == {"liver": 0.5, "spleen": None}
    assert values["left_out"] == {"liver": 0, "spleen": 1}


def test_the_published_rule_scores_an_empty_truth_zero(folders, capsys):
    assert evaluate(folders, "--json", "--rule", "published") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["dice"] == {"liver": 2 * 16 / 65, "spleen": 0.0}
    assert values["rule"] == "published"


def test_table(folders, capsys):
    assert evaluate(folders) == 0
    head, liver, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["category", "Dice", "HD", "mm"]
    assert liver.split()[:3] == ["liver", "0.500", "2.00"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-i", "out"], "name them with --truth"),
        (["-i", "phantoms"], "name it with --model"),
        (["-i", "nowhere", "--truth", "truth"], "no such file or folder: nowhere"),
        (["-i", "out", "--truth", "truth", "--rule", "kind"], "unknown rule 'kind'"),
        (["-i", "out", "--truth", "truth", "--labels", "x"], "no such file: x"),
    ],
)
def test_errors_are_one_line(folders, monkeypatch, capsys, words, message):
    monkeypatch.chdir(folders)
    assert main(["evaluate", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
