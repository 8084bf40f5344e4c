"""``mots report``: which page it writes, and where."""

from __future__ import annotations

import json

import pytest
from predicted_folder import predict_into

from mots_pretrained.cli import main

LOG = "step,total\n1,0.5\n2,0.25\n"


def test_the_page_lies_in_the_folder_unless_another_is_named(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "log.csv").write_text(LOG)
    assert main(["report", "-i", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}/report.html\n"
    assert "<title>run: training</title>" in (run / "report.html").read_text("utf-8")
    assert main(["report", "-i", str(run), "-o", str(tmp_path / "a.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"page": str(tmp_path / "a.html")}
    assert (tmp_path / "a.html").read_bytes() == (run / "report.html").read_bytes()
    for option in (["--size", "32"], ["--megabytes", "5"], ["--scan", "a"]):
        assert main(["report", "-i", str(run), *option]) == 2
        assert "run is a training; leave out --scan" in capsys.readouterr().err


def test_a_folder_may_have_braces_in_its_name(tmp_path):
    run = tmp_path / "run{1}"
    run.mkdir()
    (run / "log.csv").write_text(LOG)
    assert main(["report", "-i", str(run)]) == 0
    assert "<title>run{1}: training</title>" in (run / "report.html").read_text("utf-8")


def test_one_scan_gives_its_name_to_the_page(tmp_path, capsys):
    out = predict_into(tmp_path, "a", "b")
    assert main(["report", "-i", str(out), "--scan", "b", "--size", "16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scans"] == 1
    assert "<title>out: b</title>" in (out / "report.html").read_text("utf-8")
    assert main(["report", "-i", str(out), "--megabytes", "0.001", "--size", "16"]) == 0
    assert "1 of 2 scans have their pictures in the page" in capsys.readouterr().out
    assert "<title>out: segmented scans</title>" in (out / "report.html").read_text("utf-8")
    assert main(["report", "-i", str(out), "--scan", "none"]) == 2
    assert "has no scan 'none'; it has a, b" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-i", "none"], "no such folder: none; give one of mots predict or a training"),
        (["-i", "."], "holds no results of mots predict, no training and no curve"),
        (["-i", "run", "--scans", "none"], "no such folder: none; give the folder of the scans"),
        (["-i", "run", "--size", "4"], "--size must be 16 to 512, not 4"),
        (["-i", "run", "-o", "page.txt"], "give a name ending in .html"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.csv").write_text(LOG)
    assert main(["report", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.html"))
