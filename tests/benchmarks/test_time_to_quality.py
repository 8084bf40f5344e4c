"""Minutes to a Dice: nnU-Net's shape, what counts as reached, what is not done again."""

from __future__ import annotations

import sys

import pytest
import torch
from small_networks import small

from mots_pretrained.config import Preprocessing
from mots_pretrained.evaluation.table import read_lines
from mots_pretrained.methods import METHODS

COARSE = Preprocessing(spacing=(16.0, 12.0, 12.0), patch=(32, 32, 32), window=(32, 32, 32))


def test_levels_are_planned_while_four_voxels_are_left(script):
    assert script.planned_strides((48, 96, 96)) == [[1] * 3, *[[2] * 3] * 3, [1, 2, 2]]
    assert script.planned_strides((64, 192, 192)) == [[1] * 3, *[[2] * 3] * 4, [1, 2, 2]]
    assert len(script.planned_strides((512, 512, 512))) == 6


def test_minutes_to_an_aim_lie_between_the_marks_and_none_is_empty(script):
    points = [script.Point(1.0, 5, 0.2), script.Point(2.0, 9, 0.45), script.Point(3.0, 12, 0.35)]
    lines = script.lines_of(points, "all", "s", 0)
    minutes = {x["metric"]: x["value"] for x in lines if x["metric"].startswith("minutes")}
    assert minutes == {
        "minutes_to_0.3": "1.40", "minutes_to_0.4": "1.80", "minutes_to_0.5": "",
        "minutes_to_0.6": "",
    }  # fmt: skip
    scores = [(x["value"], x["seconds"], x["steps"]) for x in lines if x["metric"] == "mean_dice"]
    assert scores[1] == ("0.4500", "120.0", "9")


def test_the_report_says_how_many_times_as_long(script):
    lines = [
        line
        for seed, minutes in enumerate((1.0, 2.0, 3.0))
        for line in (
            *script.lines_of([script.Point(minutes, 0, 0.55)], "head", "s", seed),
            *script.lines_of([script.Point(20.0, 99, 0.31)], "dynunet", "s", seed),
        )
    ]
    text = script.report(lines, 20)
    assert text.splitlines()[1].split()[-5:] == ["2.0", "2.0", "2.0", ">", "20"]
    assert text.splitlines()[2].split()[-7:] == ["20.0", ">", "20", ">", "20", ">", "20"]
    assert "DynUNet takes more than 10.0 times as long" in text


@pytest.mark.long
def test_every_arm_runs_and_is_not_run_again(script, monkeypatch, tmp_path, capsys):
    torch.manual_seed(0)
    METHODS["transdodnet"](small(preprocessing=COARSE)).save_pretrained(tmp_path / "start")
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    words = ["--quick", "--seeds", "1", "--model", tmp_path / "start", "--results", tmp_path]
    monkeypatch.setattr(sys, "argv", ["time_to_quality.py", *map(str, words)])
    script.main()
    lines = read_lines(tmp_path / "time_to_quality_quick.csv")
    assert {line["row"] for line in lines} == {*script.ARMS}
    assert (tmp_path / "time_to_quality_quick.png").exists()
    assert "DynUNet, random weights" in capsys.readouterr().out
    monkeypatch.setattr(script.Bench, "points", lambda *given: pytest.fail("done before"))
    script.main()
    assert read_lines(tmp_path / "time_to_quality_quick.csv") == lines
