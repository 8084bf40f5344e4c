"""The page of a training's folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mots_pretrained.cli import main
from mots_pretrained.errors import UserError
from mots_pretrained.files import write_json
from mots_pretrained.report.example import Example
from mots_pretrained.report.training_page import write_training_page


def test_a_training_shows_curves_scores_and_settings(tmp_path, capsys):
    rows = "".join(f"{step},{1 / step},,{step * 2}\n" for step in range(1, 9))
    (tmp_path / "log.csv").write_text(f"step,total,empty,seconds\n{rows}")
    write_json(tmp_path / "training.json", {"recipe": {"rate": 1e-3}, "from": "<b>x"})
    write_json(tmp_path / "cases.json", {"scores": {"liver": 0.91234}})
    mask = np.eye(6, dtype=np.uint8)
    Example(mask.astype(np.float32), mask, mask, (1.0, 1.0), ("a<b>",), 5).save(tmp_path)
    assert main(["report", "-i", str(tmp_path), "--json"]) == 0
    page = json.loads(capsys.readouterr().out)["page"]
    text = Path(page).read_text("utf-8")
    assert 'alt="total by step" src="data:image/png;base64,' in text
    assert text.count("<figure>") == 2
    assert 'alt="as it was predicted"' in text
    assert "at step 5." in text
    assert "<td>liver</td><td>0.9123</td>" in text
    assert "<td>recipe, rate</td><td>0.001</td>" in text
    assert "&lt;b&gt;x" in text
    assert "<b>x" not in text
    assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "step,total\nx,y\n"])
def test_what_is_no_log_is_refused(tmp_path, text):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(UserError, match=r"log\.csv"):
        write_training_page(tmp_path, tmp_path / "page.html", title="t")
    assert not (tmp_path / "page.html").exists()
