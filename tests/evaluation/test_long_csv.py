"""The long table: written, read back, one method chosen, seeds averaged, faults told."""

import csv
import math

import pytest

from mots_pretrained.evaluation.long_csv import (
    COLUMNS,
    case_scores,
    read_case_scores,
    write_long_csv,
)
from mots_pretrained.evaluation.results import Results


def results(dice=0.5):
    found = Results(("liver", "colon_tumour"), ("dice", "hd"))
    found.add("a", {"liver": {"dice": dice, "hd": 3.0}}, seconds=1.25)
    found.add("b", {"colon_tumour": {"dice": 0.0, "hd": math.inf}})
    found.add("c", {"colon_tumour": {"dice": None, "hd": None}})
    return found


def write_lines(path, *lines):
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()
        table.writerows(lines)
    return path


def test_what_is_written_is_read_back(tmp_path):
    both = {0: results(0.5), 1: results(0.75)}
    path = write_long_csv(tmp_path / "a.csv", both, row="a model", setting="test", machine="here")
    assert read_case_scores(path) == {("a", "liver"): 0.625, ("b", "colon_tumour"): 0.0}
    assert read_case_scores(path) == case_scores(both)
    assert read_case_scores(path, metric="hd") == case_scores(both, metric="hd")
    assert case_scores(both, metric="hd") == {("a", "liver"): 3.0}
    lines = list(csv.DictReader(path.read_text().splitlines()))
    assert tuple(lines[0]) == COLUMNS
    assert lines[0] == {
        "table": "evaluate", "row": "a model", "setting": "test", "seed": "0", "case": "a",
        "category": "liver", "metric": "dice", "value": "0.5", "steps": "", "seconds": "1.250",
        "machine": "here",
    }  # fmt: skip
    assert [line["value"] for line in lines if line["case"] == "b"] == ["0.0", "inf"] * 2
    assert [*tmp_path.iterdir()] == [path]


def test_one_method_of_a_benchmark_is_chosen(tmp_path):
    cell = {"table": "table09", "case": "a", "category": "liver", "metric": "dice", "seed": "0"}
    path = write_lines(
        tmp_path / "t.csv",
        {**cell, "row": "tal", "value": "0.25"},
        {**cell, "row": "dodnet", "value": "0.5"},
        {**cell, "row": "dodnet", "value": "0.75", "seed": "1"},
        {**cell, "row": "dodnet", "value": "999.0", "metric": "hd95_voxels"},
        {**cell, "row": "dodnet", "value": "2.0", "metric": "hd95_voxels", "case": "b"},
    )
    assert read_case_scores(path, row="tal") == {("a", "liver"): 0.25}
    assert read_case_scores(path, row="dodnet") == {("a", "liver"): 0.625}
    assert read_case_scores(path, metric="hd95_voxels") == {("b", "liver"): 2.0}
    with pytest.raises(ValueError, match="twice for seed 0; say which table, row or setting"):
        read_case_scores(path)
    with pytest.raises(ValueError, match="holds no line of metric dice, row multi_nets"):
        read_case_scores(path, row="multi_nets")


def test_faults_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="mots evaluate -o"):
        read_case_scores(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has no column 'table'"):
        read_case_scores(tmp_path / "other.csv")
    path = write_lines(tmp_path / "t.csv", {"metric": "dice", "value": "high", "case": "a"})
    with pytest.raises(ValueError, match="'high' where a number should be"):
        read_case_scores(path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_long_csv(tmp_path / "no/t.csv", {0: results()}, row="a")
