"""The table of a folder's results: a row a scan and category, whatever else lies there."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from measured_prediction import prediction

from mots_pretrained.files import write_json
from mots_pretrained.inference import cohort_table
from mots_pretrained.inference.cohort_table import COHORT, COLUMNS, write_cohort
from mots_pretrained.inference.outputs import save_prediction


def test_the_table_has_a_row_a_scan_and_category(tmp_path):
    for name in ("b", "a"):
        save_prediction(prediction(name), tmp_path)
    (tmp_path / "old_volumes.json").write_text('{"scan": "old"}')
    (tmp_path / "damaged_volumes.json").write_text("{")
    path = write_cohort(tmp_path)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    categories = ["organ", "tumour", "corner", "absent"]
    assert [(r["scan"], r["category"]) for r in rows] == [(s, c) for s in "ab" for c in categories]
    assert rows[0]["mean"] == "30.0"
    assert (rows[0]["box_x_from_mm"], rows[0]["box_x_to_mm"]) == ("-6.0", "-2.0")
    assert rows[2]["touches_border"] == "head front left"
    assert (rows[3]["volume_ml"], rows[3]["median"], rows[3]["centroid_z_mm"]) == ("0.0", "", "")
    before = path.read_bytes()
    assert write_cohort(tmp_path).read_bytes() == before


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / COHORT, newline="") as file:
        return list(csv.DictReader(file))


def test_names_with_commas_and_breaks_stay_in_their_cells(tmp_path):
    found = {"volume_ml": 1.5, "mean": 2.0, "median": None, "sd": 0.0, "p5": 1, "p95": 3,
             "centroid_mm": [1, 2, 3], "box_mm": [[0, 1, 2], [3, 4, 5]], "border": []}  # fmt: skip
    told = {"scan": 'a,"b"\nc', "categories": {"x,y": found}}
    write_json(tmp_path / "a_volumes.json", told)
    write_cohort(tmp_path)
    (row,) = rows(tmp_path)
    assert (row["scan"], row["category"]) == ('a,"b"\nc', "x,y")
    assert (row["volume_ml"], row["median"], row["touches_border"]) == ("1.5", "", "")
    box = [row[f"box_{axis}_{end}_mm"] for axis in "xyz" for end in ("from", "to")]
    assert box == ["0", "3", "1", "4", "2", "5"]


@pytest.mark.parametrize("text", ["[]", "null", '{"scan": 1}', '{"scan": "a", "categories": 3}',
                                  '{"scan": "a", "categories": {"x": {}}}'])  # fmt: skip
def test_what_holds_no_measures_has_no_rows(tmp_path, text):
    (tmp_path / "a_volumes.json").write_text(text)
    (tmp_path / ".b_volumes.json").write_text("{")
    write_cohort(tmp_path)
    assert rows(tmp_path) == []
    assert (tmp_path / COHORT).read_text() == ",".join(COLUMNS) + "\n"


def test_a_dicom_series_is_named_and_a_table_of_an_earlier_version_made_anew(tmp_path):
    save_prediction(prediction("a"), tmp_path, told={"series": "1.2.3 Portal, thin"})
    save_prediction(prediction("b"), tmp_path)
    (tmp_path / COHORT).write_text("scan,category,volume_ml\nold,liver,1.0\n")
    write_cohort(tmp_path)
    series = {(row["scan"], row["series"]) for row in rows(tmp_path)}
    assert series == {("a", "1.2.3 Portal, thin"), ("b", "")}


def test_results_that_come_meanwhile_are_in_the_table(tmp_path, monkeypatch):
    save_prediction(prediction("a"), tmp_path)
    write = cohort_table.write_text

    def slow(path, text):
        write(path, text)
        if not (tmp_path / "b_volumes.json").exists():  # of another process
            save_prediction(prediction("b"), tmp_path)

    monkeypatch.setattr(cohort_table, "write_text", slow)
    write_cohort(tmp_path)
    assert {row["scan"] for row in rows(tmp_path)} == {"a", "b"}
