"""``mots doctor``: its lines, its JSON and its exit status."""

from __future__ import annotations

import json

import pytest

from mots_pretrained import doctor
from mots_pretrained.cli import main


def test_a_self_test_that_fails_is_status_1(monkeypatch, capsys):
    def wrong() -> str:
        raise RuntimeError("its logits deviate")

    monkeypatch.setattr(doctor, "_shipped_model", wrong)
    assert main(["doctor", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["works"] is False
    assert {c["told"] for c in told["checks"] if c["works"] is False} == {
        "RuntimeError: its logits deviate"
    }


@pytest.mark.parametrize("quick", [True, False])
def test_it_is_told_in_lines(quick, capsys):
    assert main(["doctor", *(["--quick"] if quick else [])]) == 0
    shown = capsys.readouterr().out
    assert "  ok    torch: " in shown
    assert ("self-test" in shown) is not quick
