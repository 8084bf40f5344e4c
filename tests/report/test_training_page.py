"""The page of a training's folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mots_pretrained.cli import main
from mots_pretrained.errors import UserError
from mots_pretrained.evaluation.table import write_lines
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


def test_a_head_alone_has_no_log(tmp_path):
    write_json(tmp_path / "training.json", {"from": "transdodnet.phantom"})
    write_json(tmp_path / "cases.json", {"scores": {"mean_dice": 0.5}})
    assert main(["report", "-i", str(tmp_path)]) == 0
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "<h2>Curves</h2>" not in text
    assert "<td>mean_dice</td><td>0.5</td>" in text
    assert "<td>from</td><td>transdodnet.phantom</td>" in text


def test_folds_show_their_joint_scores_and_each_of_them(tmp_path):
    write_json(tmp_path / "training.json", {"folds": 11})
    write_json(tmp_path / "cases.json", {"scores": {"<i>": 0.25}})
    for name, dice in (("fold_10", 0.125), ("fold_2", 0.75)):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "training.json", {"train": 3})
        write_json(tmp_path / name / "cases.json", {"scores": {"liver": dice}})
    (tmp_path / "fold_2" / "log.csv").write_text("step,total\n1,0.5\n2,0.25\n")
    (tmp_path / "fold_11").mkdir()  # not begun
    assert main(["report", "-i", str(tmp_path)]) == 0
    text = (tmp_path / "report.html").read_text("utf-8")
    places = [text.index(part) for part in (
        "<td>&lt;i&gt;</td><td>0.25</td>", "<h1>fold_2</h1>", 'alt="total by step"',
        "<td>liver</td><td>0.75</td>", "<h1>fold_10</h1>", "<td>liver</td><td>0.125</td>",
    )]  # fmt: skip
    assert places == sorted(places)
    assert "fold_11" not in text


def test_a_learning_curve_shows_its_picture_and_table(tmp_path, capsys):
    folder = tmp_path / "a<b>"
    folder.mkdir()
    write_json(folder / "curve.json", {})
    assert main(["report", "-i", str(folder)]) == 0  # no point is done
    assert "<th>scans</th>" in (folder / "report.html").read_text("utf-8")
    capsys.readouterr()
    lines = [
        {"setting": "2 scans", "seed": "0", "row": arm, "case": case, "category": "box",
         "metric": "dice", "value": value}
        for arm, values in (("pretrained", ("0.75", "0.5")), ("random", ("0.625", "0.375")))
        for case, value in zip("xy", values, strict=True)
    ]  # fmt: skip
    write_lines(folder / "curve.csv", lines)
    (folder / "curve.png").write_bytes(b"\x89PNG")
    assert main(["report", "-i", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"page": f"{folder}/report.html"}
    text = (folder / "report.html").read_text("utf-8")
    assert 'src="data:image/png;base64,iVBORw=="' in text
    row = ("2", "0.625", "0.500", "+0.125", "[+0.125, +0.125]", "1")
    assert f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" in text
    assert "a&lt;b&gt;: learning curve" in text


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "step,total\nx,y\n"])
def test_what_is_no_log_is_refused(tmp_path, text):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(UserError, match=r"log\.csv"):
        write_training_page(tmp_path, tmp_path / "page.html", title="t")
    assert not (tmp_path / "page.html").exists()
