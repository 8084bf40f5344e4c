import json

import pytest

from mots_pretrained.cli import main


def test_writes_small_scans_and_tells_where(tmp_path, capsys):
    status = main(
        ["phantom", "brats", "-o", str(tmp_path), "--cases", "1", "--shape", "16", "24", "24"]
    )
    assert status == 0
    assert "complete labels in" in capsys.readouterr().out
    assert (tmp_path / "HGG/Brats18_Phantom_001_1/Brats18_Phantom_001_1_seg.nii.gz").is_file()


def test_json_lists_the_cases(tmp_path, capsys):
    words = [
        "phantom",
        "bcv",
        "-o",
        str(tmp_path),
        "--cases",
        "1",
        "--small",
        "--seed",
        "3",
        "--json",
    ]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cases"][0]["identifier"] == "img0001"
    assert told["cases"][0]["label"] == "label/label0001.nii.gz"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lung"], "unknown kind of phantoms 'lung'"),
        (["mots", "--cases", "0"], "at least 1, not 0"),
        (["mots", "--small", "--shape", "16", "16", "16"], "choose one"),
        (["mots", "--shape", "2", "2", "2"], "at least 8"),
    ],
)
def test_wrong_input_is_one_line_and_status_two(tmp_path, capsys, words, told):
    assert main(["phantom", *words, "-o", str(tmp_path / "out")]) == 2
    heard = capsys.readouterr()
    assert told in heard.err
    assert heard.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
