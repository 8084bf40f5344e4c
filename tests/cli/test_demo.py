"""``mots demo``: what it is told reaches the demonstration, and what it shows of it."""

from __future__ import annotations

import json

from mots_pretrained.cli import main
from mots_pretrained.demo import DemoSettings

ONE = {"minutes": 1.5, "mean_dice": 0.25, "dice": {"spleen": 0.25, "liver": None}}
RESULTS = {
    "seconds": 90.0,
    "settings": {"model": "transdodnet.phantom"},
    "note": "Phantoms are not patients",
    "scan": {"file": "img0001.nii.gz", "dice": {"lung_tumour": 0.875}},
    "finetuning": {"test_scans": 3, "pretrained": ONE, "from_scratch": {**ONE, "mean_dice": 0.125}},
    "files": {"img0001_seg.nii.gz": "the label map", "pretrained/": "a network"},
}


def test_the_verb_hands_its_options_on_and_prints_a_summary_or_json(capsys, monkeypatch):
    asked = []

    def recorded(folder, scan, *, settings, say):
        asked.append((folder, scan, settings))
        say("1. Loading")
        return RESULTS

    monkeypatch.setattr("mots_pretrained.demo.demo", recorded)
    assert main(["demo", "-o", "out"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1. Loading\n")
    assert all(text in out for text in (*RESULTS["files"], "spleen", RESULTS["note"]))
    assert main(["demo", "-i", "ct.nii", "-m", "./mine", "--steps", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == RESULTS
    assert asked == [
        ("out", None, DemoSettings()),
        ("demo", "ct.nii", DemoSettings(model="./mine", steps=3)),
    ]


def test_the_summary_shows_both_networks_side_by_side(capsys, monkeypatch):
    monkeypatch.setattr("mots_pretrained.demo.demo", lambda *_, **__: RESULTS)
    assert main(["demo", "-o", "out"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["lung_tumour", "0.88"] in rows
    assert ["minutes", "of", "training", "1.5", "1.5"] in rows
    assert ["liver", "not", "in", "it", "not", "in", "it"] in rows
    assert ["mean", "0.25", "0.12"] in rows
