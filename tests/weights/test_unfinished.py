"""Models of trainings that were stopped: one warning where used, refused where passed on."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from small_networks import small

from mots_pretrained.adaptation.ensemble import Ensemble
from mots_pretrained.adaptation.segmenter import Segmenter
from mots_pretrained.cli import DONE, WRONG_INPUT, main
from mots_pretrained.errors import UserError
from mots_pretrained.export.graph import export_graph
from mots_pretrained.export.nnunet import export_nnunet
from mots_pretrained.networks import load
from mots_pretrained.publishing import make_publishable
from mots_pretrained.weights.provenance import public_record, tell_record
from mots_pretrained.weights.unfinished import missing_folds, stopped_early
from mots_pretrained.weights.upload import upload_folder

STOPPED = {"complete": False, "steps_done": 10, "steps": 500}


def folds(root: Path, numbers: tuple[int, ...], record: dict | None = None) -> Path:
    """Write an ensemble's folder with the networks of some folds, and what begins a training."""
    for number in numbers:
        Segmenter(small("segmenter")).save_pretrained(root / f"fold_{number}")
    if record is not None:
        (root / "training.json").write_text(json.dumps(record))
    return root


@pytest.fixture
def two_of_five(tmp_path: Path) -> Path:
    """What a kill in the third of five folds leaves."""
    root = folds(tmp_path / "run", (0, 1), {"complete": False, "identity": {"folds": 5}})
    (root / "fold_2").mkdir()
    (root / "fold_2" / "training.json").write_text('{"complete": false, "identity": {}}')
    return root


TOLD = r"run holds 2 of 5 folds; missing: fold_2, fold_3, fold_4\. The same .* --resume"


def test_an_ensemble_that_lacks_folds_says_so_once(two_of_five, recwarn):
    assert len(load(two_of_five).members) == 2
    (warning,) = recwarn
    assert re.search(TOLD, str(warning.message))
    with pytest.warns(UserWarning, match=TOLD):
        Ensemble.from_folder(two_of_five)


@pytest.mark.filterwarnings("always::UserWarning")
@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_predicting_and_evaluating_say_in_one_line_that_folds_are_missing(
    two_of_five, tmp_path, capsys, monkeypatch, verb
):
    """What comes after the model is loaded fails, which is soon."""
    monkeypatch.chdir(tmp_path)
    words = {
        "predict": ["-i", "ct.nii.gz", "-o", "out", "--precision", "none"],
        "evaluate": ["-i", "phantoms", "--cases", "0"],
    }[verb]
    (tmp_path / "ct.nii.gz").write_bytes(b"")
    assert main([verb, *words, "-m", str(two_of_five)]) != DONE
    told = [line for line in capsys.readouterr().err.splitlines() if "folds" in line]
    assert len(told) == 1
    assert re.search("^warning: .*" + TOLD, told[0])


def test_what_lacks_folds_is_not_passed_on(two_of_five, tmp_path, capsys):
    wanted = "holds 2 of 5 folds; missing: fold_2, fold_3, fold_4. Finish the training"
    out = tmp_path / "out"
    with pytest.warns(UserWarning, match=TOLD):
        ensemble = load(two_of_five)
    for pass_on in (
        lambda: make_publishable(two_of_five, out),
        lambda: upload_folder(two_of_five, "org/name"),
        lambda: ensemble.push_to_hub("org/name"),
        lambda: ensemble.save_pretrained(out),
        lambda: export_nnunet(ensemble, out),
        lambda: export_graph(ensemble, out),
    ):
        with pytest.raises(UserError, match=wanted):
            pass_on()
    for words in (["push"], ["export", "--format", "nnunet"]):
        assert main([*words, str(two_of_five), "-o", str(out)]) == WRONG_INPUT
        (line,) = capsys.readouterr().err.splitlines()
        assert re.search("error: .*" + wanted, line)
    assert not out.exists()
    make_publishable(two_of_five / "fold_0", out)  # a fold by itself is a whole network


@pytest.mark.parametrize(
    ("numbers", "record", "told"),
    [
        ((0, 1, 2), {"complete": True, "folds": 3}, ""),
        ((0, 1, 2), None, ""),
        ((0, 2), None, "run holds 2 of 3 folds; missing: fold_1"),
        ((1,), {"complete": True, "folds": 2}, "run holds 1 of 2 folds; missing: fold_0"),
        ((0,), ["damaged"], ""),
    ],
)
def test_folds_are_counted_by_records_or_else_by_their_numbers(tmp_path, numbers, record, told):
    found = missing_folds(folds(tmp_path / "run", numbers, record))
    assert found.endswith(told)
    assert bool(found) is bool(told)


def test_folds_that_were_copied_or_published_apart_know_how_many_they_were(tmp_path):
    root = folds(tmp_path / "run", (0, 1, 2))
    record = public_record({"recipe": {"folds": 3}, "complete": True, "identity": {"folds": 3}})
    for fold in root.iterdir():
        (fold / "training.json").write_text(json.dumps(record))
    assert missing_folds(root) == ""
    shutil.rmtree(root / "fold_2")
    assert missing_folds(root).endswith("holds 2 of 3 folds; missing: fold_2")


def test_a_network_that_has_not_done_all_its_steps_says_so_once(tmp_path):
    folder = Segmenter(small("segmenter")).save_pretrained(tmp_path / "run")
    (folder / "training.json").write_text(json.dumps(STOPPED))
    wanted = r"the training of .*run was stopped after 10 of 500 steps\. The same"
    for read in (load, Segmenter.from_pretrained):
        with pytest.warns(UserWarning, match=wanted) as caught:
            read(folder)
        assert len(caught) == 1
    with pytest.warns(UserWarning, match=wanted) as caught:  # whole as it is, it may be passed on
        make_publishable(folder, tmp_path / "out")
    assert len(caught) == 1
    assert "10 of 500 steps." in (tmp_path / "out" / "README.md").read_text()
    (folder / "training.json").write_text('{"complete": false, "identity": {}}')
    assert stopped_early(folder).endswith("was stopped before its end")


def test_folds_of_which_some_have_not_done_all_their_steps_say_so_once(tmp_path):
    root = folds(tmp_path / "run", (0, 1))
    (root / "fold_1" / "training.json").write_text(json.dumps(STOPPED))
    wanted = "the training of 1 of 2 folds was stopped: fold_1 after 10 of 500 steps"
    with pytest.warns(UserWarning, match=wanted) as caught:
        load(root)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match=wanted) as caught:
        make_publishable(root, tmp_path / "out")
    assert len(caught) == 1


def test_a_card_tells_steps_that_were_not_done():
    done = {"steps_done": 500, "steps": 500, "complete": True}
    assert "10 of 500 steps." in tell_record(STOPPED)
    assert ". 500 steps." in tell_record(done)
