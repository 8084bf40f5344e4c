"""What few scans are worth: who labels what, rows that are compared and resumed; all run."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from small_networks import small

from mots_pretrained.config import Preprocessing
from mots_pretrained.data.case import Case
from mots_pretrained.evaluation.results import Results
from mots_pretrained.evaluation.table import read_lines
from mots_pretrained.methods import METHODS
from mots_pretrained.tasks import BCV_ORGANS

COARSE = Preprocessing(spacing=(16.0, 12.0, 12.0), patch=(32, 32, 32), window=(32, 32, 32))


def call(script, monkeypatch, *words):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(sys, "argv", ["adaptation.py", *map(str, words)])
    script.main()


@pytest.mark.parametrize("cases", [8, 3])
def test_each_case_labels_as_many_organs_and_no_organ_is_left_out(script, cases):
    found = [script.draw_labelled(cases, seed) for seed in range(20)]
    for drawn in found:
        assert {len({*known}) for known in drawn} == {max(4, -(-13 // cases))}
        assert {organ for known in drawn for organ in known} == {*range(13)}
    assert found[0] == script.draw_labelled(cases, 0)
    assert found[0] != found[1]


def test_what_is_not_labelled_is_told_or_looks_like_background(script):
    target = np.arange(14, dtype=np.uint8).reshape(1, 1, 2, 7)
    case = Case(np.zeros((1, 1, 2, 7), np.float32), target, name="x")
    some = script.only(case, [0, 12], told=True)
    assert np.unique(some.target).tolist() == [0, 1, 13]
    assert some.labelled == tuple(organ in ("spleen", "left_adrenal_gland") for organ in BCV_ORGANS)
    assert script.only(case, [0, 12], told=False).labelled == (True,)
    assert target.max() == 13


def outcome(script, value):
    results = Results(("a", "b"))
    for number in (0, 1):
        scores = {"a": {"dice": value + number / 10}, "b": {"dice": None, "false_ml": 1.0}}
        results.add(f"unseen {number}", scores)
    return script.Outcome(results, 2.0, 7, 10, {"file_bytes": 5})


def test_rows_are_written_compared_and_not_done_again(script, monkeypatch, tmp_path, capsys):
    done = []

    def row(name, value):
        def run(now):
            done.append((name, now.seed))
            return outcome(script, value + 0.1 * now.seed)

        return run

    rows = {"x": row("x", 0.5), "y": row("y", 0.3)}
    monkeypatch.setattr(script, "TABLES", {"organs": rows})
    monkeypatch.setattr(script, "PAIRS", (("organs", "x", "y"),))
    words = ["--results", tmp_path, "--seeds"]
    call(script, monkeypatch, *words, 1, "--rows", "y")
    call(script, monkeypatch, *words, 2)
    assert done == [("y", 0), ("x", 0), ("x", 1), ("y", 1)]
    call(script, monkeypatch, *words, 2)
    assert len(done) == 4
    assert "x less y: +0.200 [+0.200, +0.200]" in capsys.readouterr().out
    lines = read_lines(tmp_path / "adaptation.csv")
    compared = [line for line in lines if line["table"] == "adaptation organs compared"]
    found = {line["metric"]: float(line["value"]) for line in compared}
    assert found == pytest.approx({"difference": 0.2, "low": 0.2, "high": 0.2, "cases": 2})
    own = [line for line in lines if line["row"] == "x" and line["metric"] == "dice"]
    assert {(line["seed"], line["seconds"], line["steps"]) for line in own} == {
        ("0", "2.0", "7"), ("1", "2.0", "7"),
    }  # fmt: skip
    assert [x["value"] for x in lines if x["metric"] == "file_bytes"] == ["5"] * 4


def test_pairs_and_choices_name_rows(script):
    for table, *pair in script.PAIRS:
        assert {*pair} <= {*script.TABLES[table]}
    for table, rows in script.BY_CHOICE.items():
        assert {*rows} <= {*script.TABLES[table]}
    fitted = "random weights, head fitted first"
    assert fitted in script.TABLES["organs"]
    assert fitted not in script.BY_CHOICE["organs"]


@pytest.mark.parametrize("table", ["organs", "channels"])
@pytest.mark.parametrize(("row", "fitted"), [("", False), (", head fitted first", True)])
def test_a_head_on_random_weights_is_fitted_where_the_row_says_so(
    script, monkeypatch, tmp_path, table, row, fitted
):
    METHODS["transdodnet"](small(preprocessing=COARSE)).save_pretrained(tmp_path)
    seen = []

    class Told(script.Bench):
        torsos = twenty = brains = script.Scans([], [], [])

        def learned(self, net, cases, unseen, **options):
            seen.append(net.head_is_new)

    bench = Told(str(tmp_path), 2, 1, 20, quick=True)
    script.TABLES[table][f"random weights{row}"](bench)
    assert seen == [fitted]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:no label map of .* holds")
def test_every_row_runs(script, monkeypatch, tmp_path):
    torch.manual_seed(0)
    METHODS["transdodnet"](small(preprocessing=COARSE)).save_pretrained(tmp_path / "start")
    words = ["--quick", "--model", tmp_path / "start", "--results", tmp_path, "--threads", 1]
    every = [row for rows in script.TABLES.values() for row in rows]
    call(script, monkeypatch, *words, "--rows", *dict.fromkeys(every))
    lines = read_lines(tmp_path / "adaptation_quick.csv")
    for name, rows in script.TABLES.items():
        own = [line for line in lines if line["table"] == f"adaptation {name}"]
        assert {line["row"] for line in own} == {*rows}
    facts = {line["metric"]: line["value"] for line in lines if line["row"].startswith("aorta")}
    assert (facts["old_logits_equal"], facts["equal_in_another_process"]) == ("1", "1")
    assert int(facts["file_bytes"]) > 0
    compared = [line for line in lines if line["table"].endswith(" compared")]
    assert len(compared) == 4 * len(script.PAIRS)
