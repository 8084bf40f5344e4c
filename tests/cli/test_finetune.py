"""mots finetune: what it is told reaches the training, and errors are one line."""

import json

import pytest

from mots_pretrained.cli import main
from mots_pretrained.evaluation.table import Table
from mots_pretrained.training import finetune_folder as module
from mots_pretrained.training.finetune import History


@pytest.fixture
def data(tmp_path):
    for name in ("img/img0001.nii.gz", "label/label0001.nii.gz"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-i", "nowhere"], "no such folder: nowhere"),
        (["-i", "data", "--freeze", "head"], "can't freeze 'head'"),
        (["-i", "data", "--from", "nobody/nothing/x"], "nobody/nothing/x"),
        (["-i", "data", "--from", "none"], "img0001.nii.gz"),  # it is empty
        (["-i", "data", "--classes", "a,a"], "different names"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(
    data, tmp_path, monkeypatch, capsys, words, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", "-o", "out", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_options_reach_the_training(data, tmp_path, monkeypatch, capsys):
    called = {}

    def pretend(folder, output, settings, **options):
        called.update(options, settings=settings)
        table = Table(("liver",))
        table.add("a", {"liver": 0.5})
        return History(validations=[(7, table)], best_step=7)

    monkeypatch.setattr(module, "finetune_folder", pretend)
    words = (
        "--from none --size paper --classes liver,spleen --steps 9 --val 2 --freeze encoder "
        "--patience 3 --batch 1 --seed 4 --device cpu --json"
    )
    assert main(["finetune", "-i", str(data), "-o", str(tmp_path / "o"), *words.split()]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["best_step"], result["mean_dice"]) == (7, 0.5)
    settings = called["settings"]
    assert (settings.steps, settings.batch, settings.seed) == (9, 1, 4)
    assert (settings.freeze, settings.patience) == (("encoder",), 3)
    assert (called["start"].name, called["start"].size) == ("none", "paper")
    assert called["classes"] == {"liver": (1,), "spleen": (2,)}
    assert called["held_out"] == 2
