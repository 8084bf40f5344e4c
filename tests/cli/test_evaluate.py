"""mots evaluate: a table or one JSON object, and errors as one line."""

import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from prepared_folder import write_prepared
from small_networks import small

from mots_pretrained.cli import main
from mots_pretrained.config import Preprocessing
from mots_pretrained.data.store import SetAside, write_index
from mots_pretrained.images.volume import Volume, write_like
from mots_pretrained.weights.provenance import write_training_scans


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
    assert values["absent_cases"] == {"liver": 0, "spleen": 1}
    assert values["false_volume_ml"] == {"liver": None, "spleen": 0.0}
    assert values["clean_share"] == {"liver": None, "spleen": 1.0}
    assert values["missing"] == []


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
        (["-i", "out", "--truth", "truth", "--metrics", "dice,iou"], "unknown metric 'iou'"),
        (["-i", "out", "--truth", "truth", "-o", "none/a.csv"], "no such folder: none"),
        (["-i", "out", "--truth", "truth", "-o", "out"], "out is a folder; give a CSV file"),
        (["-i", "out", "--truth", "truth", "--against", "a.csv"], "no such file: a.csv"),
        (["-i", "out", "--truth", "truth", "--metrics", "dice", "--paper"], "that table needs hd"),
        (["-i", "out", "--truth", "truth", "--model", "m"], "--truth and --labels are for files"),
        (["-i", "out", "--model", "m"], "out is no prepared folder"),
        (["-i", "out", "--model", "m", "--split", "dev"], "unknown split 'dev'; allowed are train"),
        (["-i", "phantoms", "--model", "m", "--seeds", "0-2"], "whole numbers parted by commas"),
    ],
)
def test_errors_are_one_line(folders, monkeypatch, capsys, words, message):
    monkeypatch.chdir(folders)
    assert main(["evaluate", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (
            ["-i", "out", "--truth", "truth"],
            ["--postprocess", "--flips", "--overlap 0.1", "--batch 2", "--device cpu",
             "--split all", "--task liver", "--cases 3", "--seeds 1", "--randomise 1",
             "--everywhere", "--choose-thresholds"],
            "is for a model, which --model names; files are scored as they are; leave it out",
        ),
        (
            ["-i", "phantoms", "--model", "m"],
            ["--split all", "--task liver"],
            "is for a prepared folder, not for phantoms; leave it out",
        ),
        (
            ["-i", "out", "--model", "m"],
            ["--cases 3", "--seeds 1", "--randomise 1", "--everywhere"],
            "is for phantoms: -i phantoms; leave it out",
        ),
        (
            ["-i", "phantoms", "--model", "m", "--choose-thresholds"],
            ["--everywhere", "--metrics dice", "--rule published", "--tolerance 1", "-o a.csv",
             "--paper", "--against a.csv", "--postprocess"],
            "is for scores, which --choose-thresholds does not give; leave it out",
        ),
    ],
)  # fmt: skip
def test_options_that_would_change_nothing_are_refused(
    folders, monkeypatch, capsys, given, options, message
):
    """--postprocess and eleven more were taken without a word where files are scored."""
    monkeypatch.chdir(folders)
    for option in options:
        assert main(["evaluate", *given, *option.split()]) == 2
        name = option.split()[0].replace("-o", "--output") if option[1] == "o" else option
        assert capsys.readouterr().err == f"error: {name.split()[0]} {message}\n"


def test_two_runs_are_compared_case_by_case(folders, capsys):
    path = folders / "first.csv"
    assert evaluate(folders, "-o", str(path), "--metrics", "dice,hd") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"every case: {path}"
    lines = list(csv.DictReader(path.read_text().splitlines()))
    assert [(x["case"], x["category"], x["metric"], x["value"]) for x in lines] == [
        ("a", "liver", "dice", "0.5"),
        ("a", "liver", "hd", "2.0"),
        ("a", "spleen", "dice", ""),
        ("a", "spleen", "hd", ""),
        ("a", "spleen", "false_ml", "0.0"),
    ]
    assert evaluate(folders, "--against", str(path), "--json") == 0
    liver, mean = json.loads(capsys.readouterr().out)["differences"]
    assert (liver["category"], liver["difference"], liver["low"]) == ("liver", 0.0, None)
    assert mean["cases"] == 1
    assert evaluate(folders, "--against", str(path)) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:4] == [
        "mean",
        "0.500",
        "0.500",
        "+0.000",
    ]


@pytest.mark.filterwarnings("ignore:the predictions do not name hepar")
def test_the_truth_may_have_values_of_its_own(folders, capsys):
    (folders / "theirs.json").write_text('{"hepar": 3, "liver": [1, 2]}')
    assert evaluate(folders, "--truth-labels", str(folders / "theirs.json"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["dice"] == {"liver": 0.5}


@pytest.mark.filterwarnings("always")
def test_scans_without_a_prediction_are_named(folders, capsys):
    truth = folders / "truth/a.nii.gz"
    (folders / "truth/b.nii.gz").write_bytes(truth.read_bytes())
    assert evaluate(folders, "--json", "-o", str(folders / "a.csv")) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["missing"] == ["b"]
    assert captured.err.splitlines() == [
        "warning: 1 of 2 true label maps have no prediction and are not in the means: b"
    ]
    assert "b,,missing" in (folders / "a.csv").read_text()
    assert evaluate(folders, "--metrics", "dice") == 0
    assert "1 of 2" in capsys.readouterr().out.splitlines()[-2]


def test_false_volumes_are_explained(folders, capsys):
    assert evaluate(folders, "--metrics", "dice") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["category", "Dice", "cases", "without", "clean", "false", "ml"]
    assert lines[-1].startswith("without: cases that lack the category; clean: share of them")


def test_control_characters_of_names_are_not_printed(folders, capsys):
    (folders / "names.json").write_text(json.dumps({"liv\x1b[2Jer": 1}))
    assert evaluate(folders, "--metrics", "dice") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "liv\\x1b[2Jer" in out


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small untrained network on a grid so coarse that a phantom takes a moment."""
    from mots_pretrained.networks import build

    contract = Preprocessing(spacing=(14.0, 14.0, 14.0), patch=(32, 32, 32), window=(32, 32, 32))
    net = build(dataclasses.replace(small(), preprocessing=contract))
    folder = tmp_path_factory.mktemp("model")
    net.save_pretrained(folder)
    return folder, contract


def test_phantoms_of_several_seeds(model, tmp_path, capsys):
    words = ["-i", "phantoms", "-m", str(model[0]), "--cases", "2", "--seeds", "1,2", "--json"]
    words += ["--overlap", "0"]
    assert main(["evaluate", *words, "--metrics", "dice,hd", "-o", str(tmp_path / "a.csv")]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [*values["seeds"]] == ["1", "2"]
    first, second = (values["seeds"][seed] for seed in "12")
    assert [*first["cases"]] == ["liver 1-0", "kidney 1-1"]
    assert values["mean_dice"] == pytest.approx((first["mean_dice"] + second["mean_dice"]) / 2)
    assert values["standard_deviation"]["mean_dice"] >= 0
    lines = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert {line["seed"] for line in lines} == {"1", "2"}
    assert {line["row"] for line in lines} == {str(model[0])}
    setting = lines[0]["setting"]
    assert re.fullmatch(
        "2 phantoms, randomise 0, rule standard, tolerance 2 mm, overlap 0, weights [0-9a-f]{12}, "
        "on the model's grid of 14 x 14 x 14 mm",
        setting,
    )
    assert " cores, torch " in lines[0]["machine"]
    assert all(float(line["seconds"]) > 0 for line in lines)


def test_phantoms_everywhere_beside_the_paper(model, capsys):
    words = ["-i", "phantoms", "-m", str(model[0]), "--cases", "1", "--everywhere", "--paper"]
    words += ["--overlap", "0"]
    assert main(["evaluate", *words, "--metrics", "dice,hd", "-q"]) == 0
    text = capsys.readouterr().out
    assert "mean, labelled elsewhere" in text
    assert "TransDoDNet (paper)" in text


def test_a_prepared_split(model, tmp_path, capsys):
    folder, contract = model
    write_prepared(tmp_path, contract, {"liver": 2, "spleen": 1}, shape=(32, 32, 32))
    words = ["-i", str(tmp_path), "-m", str(folder), "--metrics", "dice", "--json"]
    assert main(["evaluate", *words]) == 0
    values = json.loads(capsys.readouterr().out)
    assert {case: [*scores] for case, scores in values["cases"].items()} == {
        "liver_1": ["liver", "liver_tumour"],
        "spleen_0": ["spleen"],
    }
    assert main(["evaluate", *words, "--split", "all", "--task", "liver"]) == 0
    assert len(json.loads(capsys.readouterr().out)["cases"]) == 2
    assert main(["evaluate", *words, "--split", "train", "--task", "spleen"]) == 2
    assert "no case to score in the split train and the task spleen" in capsys.readouterr().err
    assert main(["evaluate", *words, "--split", "validation"]) == 0
    assert [*json.loads(capsys.readouterr().out)["cases"]] == ["liver_0"]


@pytest.mark.filterwarnings("always")
def test_cases_that_were_seen_in_training_are_told(model, tmp_path, capsys):
    """Thresholds were chosen, by default, on the very cases that are scored."""
    folder, contract = model
    prepared = write_prepared(tmp_path / "set", contract, {"liver": 3}, shape=(32, 32, 32))
    net = shutil.copytree(folder, tmp_path / "net")
    seen = prepared.select(split="train")
    write_training_scans(net, prepared.hashes(seen))
    words = ["evaluate", "-i", str(prepared.folder), "-m", str(net)]
    told = "cases, such as"
    assert main([*words, "--metrics", "dice"]) == 0  # of the test split
    assert told not in capsys.readouterr().err
    assert main([*words, "--metrics", "dice", "--split", "all"]) == 0
    assert f"seen in training: 2 of the 3 {told} liver_0" in capsys.readouterr().err
    assert main([*words, "--choose-thresholds"]) == 0
    assert f"seen in training: 1 of the 1 {told} liver_1" in capsys.readouterr().err
    aside = (SetAside("liver_9", "liver", "no labels"),)
    write_index(dataclasses.replace(prepared, set_aside=aside), {})
    assert main([*words, "--metrics", "dice"]) == 0
    assert "in whatever split: 1, such as liver_9" in capsys.readouterr().err


def test_a_folder_prepared_beside_a_training_is_refused_as_that(model, tmp_path, capsys):
    folder, contract = model
    prepared = write_prepared(tmp_path, contract, {"liver": 3}, shape=(32, 32, 32))
    kept = prepared.select(split="train")
    write_index(dataclasses.replace(prepared, tasks=(), records=kept), {})
    assert main(["evaluate", "-i", str(tmp_path), "-m", str(folder)]) == 2
    assert "was prepared beside a training, without tasks" in capsys.readouterr().err
