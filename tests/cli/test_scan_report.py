"""What is shown of a scan: volumes, notes in a line a kind, warnings, a failure."""

from __future__ import annotations

from typing import Any

from mots_pretrained.cli.scan_report import show_scan, warn_of_scan
from mots_pretrained.inference.failures import Failure


def report(**changes: Any) -> dict[str, Any]:
    told = {
        "scan": "a",
        "segmentation": "out/a_seg.nii.gz",
        "seconds": 3.6,
        "labels": {"liver": [1, 2], "spleen": 11, "colon_tumour": 9},
        "volumes_ml": {"liver": 1511.44, "spleen": 80.0, "colon_tumour": 0.0},
        "doubts": [
            {"kind": "missing", "category": "kidney", "text": "no kidney"},
            {"kind": "missing", "category": "pancreas", "text": "no pancreas"},
            {"kind": "volume", "category": "liver", "text": "the liver is large"},
            {"kind": "spacing", "category": None, "text": "the body is 19 cm wide"},
        ],
    }
    return {**told, **changes}


def test_volumes_and_notes(capsys):
    show_scan(report(overlay="out/a.png"))
    assert capsys.readouterr().out.splitlines() == [
        "out/a_seg.nii.gz  (4 s; out/a.png)",
        "    1  liver      1511.4 ml",
        "   11  spleen       80.0 ml",
        "  note: not found: kidney, pancreas",
        "  note: the liver is large",
    ]
    show_scan(report(volumes_ml={"liver": 0.0}, doubts=[]))
    assert capsys.readouterr().out.splitlines()[1:] == ["  nothing found"]


def test_a_submission_s_file_alone_and_a_failure(capsys):
    show_scan({"scan": "a", "segmentation": "out/label0001.nii.gz", "precision": "float32"})
    assert capsys.readouterr().out == "out/label0001.nii.gz\n"
    show_scan(Failure("b.nii.gz", "UserError", "it is empty"))
    said = capsys.readouterr()
    assert said.out + said.err == "failed: b.nii.gz: it is empty\n"


def test_what_makes_a_result_useless_is_warned_of(capsys):
    warn_of_scan(report())
    assert capsys.readouterr().err == "warning: a: the body is 19 cm wide\n"
    warn_of_scan({"scan": "a", "segmentation": "out/label0001.nii.gz"})
    assert capsys.readouterr().err == ""
