"""The shipped models' scores as one CSV: which models, their steps, both parts of a case."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.table import from_lines, read_lines


def test_the_models_that_make_labels_are_scored(script):
    assert script.MODELS == (
        "transdodnet.phantom",
        "dodnet.phantom",
        "transdodnet.phantom_singlept",
    )
    for name in script.MODELS:
        assert int(script.steps(name)) > 0


def test_every_value_of_every_case_is_written(script, monkeypatch, tmp_path, capsys):
    def score(net, scoring, **options):
        results = Results(("liver", "liver_tumour", "spleen"), scoring.metrics)
        for seed in options["seeds"]:
            right = {"dice": 0.5 + seed / 10, "hd95": 2.0}
            none = {"dice": None, "hd95": None, "false_ml": 1.5}
            scores = {"liver": right, "liver_tumour": none, "spleen": right}
            results.add(f"liver {seed}-0", scores, seed=seed, group="liver", seconds=1.0)
        return results

    net = SimpleNamespace(to=lambda device: net, state_dict=dict)
    monkeypatch.setattr(script, "score_phantoms", score)
    monkeypatch.setattr(script, "load", lambda name: net)
    path = tmp_path / "models.csv"
    words = ["--models", "dodnet.phantom", "--cases", "1", "--seeds", "0,1", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["score_models.py", *words, "-o", str(path)])
    script.main()
    own = from_lines(read_lines(path, table="models", row="dodnet.phantom"))
    assert own.categories == ("liver", "liver_tumour")
    assert own.mean("liver") == pytest.approx(0.55)
    assert own.false_volume("liver_tumour") == 1.5
    assert from_lines(read_lines(path, table="models elsewhere")).categories == ("spleen",)
    assert "clean" in capsys.readouterr().out
    words[1] = "transdodnet.phantom"
    monkeypatch.setattr(sys, "argv", ["score_models.py", *words, "-o", str(path)])
    script.main()  # which leaves the other model's lines where they are
    assert {line["row"] for line in read_lines(path)} == {"dodnet.phantom", "transdodnet.phantom"}


def test_the_published_file_is_not_replaced_by_fewer_phantoms(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["score_models.py", "--cases", "7"])
    with pytest.raises(SystemExit):
        script.main()
    assert "give -o FILE" in capsys.readouterr().err
